/*-------------------------------------------------------------------------
 *
 * server.h
 *	  postgres.h, for a machine that lacks headers the server was built with.
 *
 * libpq/oauth.h includes libpq/libpq-be.h, which includes the headers of
 * GSSAPI and OpenSSL where the server was configured with them.  A machine
 * that only compiles this module need not have them: the server keeps the
 * offsets of struct Port the same with and without (see the comments there),
 * and nothing of either is used here.
 *
 * shim/server.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef PGOAUTHD_SERVER_H
#define PGOAUTHD_SERVER_H

#include "postgres.h"

#ifdef __has_include
#if !__has_include(<gssapi/gssapi_ext.h>) && !__has_include(<gssapi_ext.h>)
#undef ENABLE_GSS
#endif
#if !__has_include(<openssl/ssl.h>)
#undef USE_OPENSSL
#undef USE_SSL
#endif
#endif

#endif							/* PGOAUTHD_SERVER_H */
