/*-------------------------------------------------------------------------
 *
 * wire.h
 *	  The callout protocol as text: the request that asks pgoauthd about a
 *	  token, and the reply that says what it judged (docs/callout.md).
 *
 * It includes no PostgreSQL header, allocates nothing, and never touches a
 * socket, so that it can be tested and fuzzed on its own.
 *
 * shim/wire.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef PGOAUTHD_WIRE_H
#define PGOAUTHD_WIRE_H

#include <stdbool.h>
#include <stddef.h>

#define PGOAUTHD_VERSION "0.1.0"

/* Bounds of a reply, in bytes.  The daemon keeps to them; others are refused. */
#define WIRE_MAX_HEAD 8192
#define WIRE_MAX_BODY 65536

/* Bounds of what is kept of a reply, in bytes of UTF-8. */
#define WIRE_MAX_AUTHN_ID 256
#define WIRE_MAX_REASON 64
#define WIRE_MAX_TEXT 1000

/*
 * A login, as the server knows it.  Strings may be NULL where the protocol
 * allows null, and need not be valid UTF-8, but for role and audience: see
 * wirejson_is_utf8().
 */
typedef struct WireRequest
{
	const char *token;
	const char *role;
	const char *database;
	const char *client_addr;
	int			client_port;	/* 0: none */
	const char *session_id;
	int			pid;
	const char *hba_file;
	int			hba_line;
	const char *issuer;
	const char *scope;
	const char *audience;
	const char *usermap;
	bool		delegate;
	int			server_version;
	const char *cluster_name;
} WireRequest;

/* The head of a reply. */
typedef struct WireHead
{
	int			status;
	size_t		size;			/* bytes up to and including the empty line */
	size_t		content_length; /* bytes of the body */
} WireHead;

/* What a reply says; strings are valid UTF-8 without control characters. */
typedef struct WireReply
{
	bool		authorized;
	bool		has_authn_id;	/* there is one, and it is not empty */
	char		authn_id[WIRE_MAX_AUTHN_ID + 1];
	char		reason[WIRE_MAX_REASON + 1];
	char		message[WIRE_MAX_TEXT + 1];
	char		remedy[WIRE_MAX_TEXT + 1];
} WireReply;

typedef enum WireResult
{
	WIRE_OK,
	WIRE_MORE,					/* fine so far, but not all of it */
	WIRE_BAD,					/* never will be */
} WireResult;

extern size_t wire_build_request(const WireRequest *request, char *buffer, size_t size);
extern WireResult wire_read_head(const char *bytes, size_t length, WireHead *head,
								 const char **problem);
extern WireResult wire_read_body(const WireHead *head, const char *body, size_t length,
								 WireReply *reply, const char **problem);

#endif							/* PGOAUTHD_WIRE_H */
