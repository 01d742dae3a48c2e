/*-------------------------------------------------------------------------
 *
 * exchange.h
 *	  One question and one answer over the socket of pgoauthd.
 *
 * shim/exchange.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef PGOAUTHD_EXCHANGE_H
#define PGOAUTHD_EXCHANGE_H

#include "wire.h"

typedef enum ExchangeResult
{
	EXCHANGE_ANSWERED,			/* the reply is there */
	EXCHANGE_UNAVAILABLE,		/* nobody there, or gone without an answer */
	EXCHANGE_TIMEOUT,			/* no whole answer before the deadline */
	EXCHANGE_PROTOCOL,			/* an answer, but not one of the protocol */
} ExchangeResult;

/*
 * Sends the request to the socket at `path` and reads the reply, all within
 * `timeout_ms` milliseconds.  Unless there is a reply, *problem is set to a
 * palloc'd clause that says what went wrong.  Interrupts are served while it
 * waits; it throws where they do, and leaves no socket open.
 */
extern ExchangeResult exchange(const char *path, int timeout_ms,
							   const char *request, size_t request_size,
							   WireReply *reply, char **problem);

#endif							/* PGOAUTHD_EXCHANGE_H */
