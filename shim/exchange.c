/*-------------------------------------------------------------------------
 *
 * exchange.c
 *	  One question and one answer over the socket of pgoauthd.
 *
 * The backend waits here in the middle of authentication, where a terminate,
 * a shutdown of the server and authentication_timeout must still be heard:
 * every wait is one on the latch as well, and one deadline holds for all of
 * them together.
 *
 * shim/exchange.c
 *
 *-------------------------------------------------------------------------
 */
#include "server.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "exchange.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/wait_event.h"

/*
 * A Unix socket whose backlog is full has nothing to poll for; one has to ask
 * again.  Milliseconds in between.
 */
#define CONNECT_RETRY_MS 10

typedef struct Exchange
{
	pgsocket	sock;
	instr_time	start;
	int			timeout_ms;
	uint32		wait_event;
	char	  **problem;
} Exchange;

static ExchangeResult converse(Exchange *ex, const struct sockaddr_un *address,
							   const char *request, size_t request_size, WireReply *reply);
static ExchangeResult open_connection(Exchange *ex, const struct sockaddr_un *address);
static ExchangeResult send_request(Exchange *ex, const char *request, size_t size);
static ExchangeResult receive_reply(Exchange *ex, WireReply *reply);
static ExchangeResult receive_some(Exchange *ex, char *buffer, size_t size, size_t *filled);
static ExchangeResult read_reply(Exchange *ex, const char *buffer, size_t filled,
								 WireReply *reply, bool *complete);
static bool wait_for(Exchange *ex, int events, long at_most_ms);
static long milliseconds_left(const Exchange *ex);
static ExchangeResult fail(Exchange *ex, ExchangeResult result, char *problem);

ExchangeResult
exchange(const char *path, int timeout_ms, const char *request, size_t request_size,
		 WireReply *reply, char **problem)
{
	/* not a local variable: its value must survive a longjmp out of the try */
	Exchange   *ex = palloc0(sizeof(Exchange));
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	volatile ExchangeResult result = EXCHANGE_UNAVAILABLE;

	INSTR_TIME_SET_CURRENT(ex->start);
	ex->sock = PGINVALID_SOCKET;
	ex->timeout_ms = timeout_ms;
	ex->problem = problem;

	/* an empty one is an address that any user could listen at (unix(7)) */
	if (path[0] == '\0')
		return fail(ex, EXCHANGE_UNAVAILABLE, pstrdup("the path of the socket is empty"));
	if (strlen(path) >= sizeof(address.sun_path))
		return fail(ex, EXCHANGE_UNAVAILABLE,
					psprintf("the path of the socket is longer than %zu bytes",
							 sizeof(address.sun_path) - 1));
	memcpy(address.sun_path, path, strlen(path) + 1);

	/* shown in pg_stat_activity while a login waits for its verdict */
	ex->wait_event = WaitEventExtensionNew("PgoauthdVerdict");

	if (!AcquireExternalFD())
		return fail(ex, EXCHANGE_UNAVAILABLE, psprintf("could not create a socket: %m"));
	PG_TRY();
	{
		result = converse(ex, &address, request, request_size, reply);
	}
	PG_FINALLY();
	{
		if (ex->sock != PGINVALID_SOCKET)
			closesocket(ex->sock);
		ReleaseExternalFD();
	}
	PG_END_TRY();

	pfree(ex);
	return result;
}

/*
 * The steps in their order.  From each of them EXCHANGE_ANSWERED means that
 * nothing speaks against the next.
 */
static ExchangeResult
converse(Exchange *ex, const struct sockaddr_un *address, const char *request,
		 size_t request_size, WireReply *reply)
{
	ExchangeResult result;

	result = open_connection(ex, address);
	if (result == EXCHANGE_ANSWERED)
		result = send_request(ex, request, request_size);
	if (result == EXCHANGE_ANSWERED)
		result = receive_reply(ex, reply);
	return result;
}

static ExchangeResult
open_connection(Exchange *ex, const struct sockaddr_un *address)
{
	ex->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (ex->sock == PGINVALID_SOCKET)
		return fail(ex, EXCHANGE_UNAVAILABLE, psprintf("could not create a socket: %m"));

	while (connect(ex->sock, (const struct sockaddr *) address, sizeof(*address)) != 0)
	{
		/* EAGAIN: the backlog is full, as in a login storm (unix(7)) */
		if (errno != EAGAIN && errno != EINTR)
			return fail(ex, EXCHANGE_UNAVAILABLE,
						psprintf("could not connect to \"%s\": %m", address->sun_path));
		if (!wait_for(ex, 0, CONNECT_RETRY_MS))
			return fail(ex, EXCHANGE_TIMEOUT, pstrdup("its backlog was full all the time"));
	}
	return EXCHANGE_ANSWERED;
}

static ExchangeResult
send_request(Exchange *ex, const char *request, size_t size)
{
	size_t		sent = 0;

	while (sent < size)
	{
		ssize_t		rc = send(ex->sock, request + sent, size - sent, MSG_NOSIGNAL);

		if (rc >= 0)
			sent += (size_t) rc;
		else if (errno == EPIPE || errno == ECONNRESET)

			/*
			 * It closed before it had heard all, as a server does that sheds
			 * load; its answer may be there to read all the same.
			 */
			return EXCHANGE_ANSWERED;
		else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
			return fail(ex, EXCHANGE_UNAVAILABLE, psprintf("could not send the request: %m"));
		else if (!wait_for(ex, WL_SOCKET_WRITEABLE, ex->timeout_ms))
			return fail(ex, EXCHANGE_TIMEOUT, pstrdup("it did not take the request"));
	}
	return EXCHANGE_ANSWERED;
}

/*
 * Reads until the reply is complete, which its Content-Length says; there is
 * no need to wait until the other side closes.
 */
static ExchangeResult
receive_reply(Exchange *ex, WireReply *reply)
{
	/* one byte more than a reply may have, to see that there is more */
	size_t		size = WIRE_MAX_HEAD + WIRE_MAX_BODY + 1;
	char	   *buffer = palloc(size);
	size_t		filled = 0;
	bool		complete = false;
	ExchangeResult result = EXCHANGE_ANSWERED;

	while (result == EXCHANGE_ANSWERED && !complete)
	{
		result = receive_some(ex, buffer, size, &filled);
		if (result == EXCHANGE_ANSWERED)
			result = read_reply(ex, buffer, filled, reply, &complete);
	}
	pfree(buffer);
	return result;
}

/*
 * Waits for bytes and appends at least one to what the buffer has.
 */
static ExchangeResult
receive_some(Exchange *ex, char *buffer, size_t size, size_t *filled)
{
	for (;;)
	{
		ssize_t		rc = recv(ex->sock, buffer + *filled, size - *filled, 0);

		if (rc > 0)
		{
			*filled += (size_t) rc;
			return EXCHANGE_ANSWERED;
		}
		if (rc == 0 && *filled > 0)
			return fail(ex, EXCHANGE_PROTOCOL, pstrdup("it ends early"));
		if (rc == 0)
			return fail(ex, EXCHANGE_UNAVAILABLE, pstrdup("it closed the connection without an answer"));
		if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
			return fail(ex, EXCHANGE_UNAVAILABLE, psprintf("could not read the answer: %m"));
		if (!wait_for(ex, WL_SOCKET_READABLE, ex->timeout_ms))
			return fail(ex, EXCHANGE_TIMEOUT,
						pstrdup(*filled > 0 ? "its answer was not complete" : "there was no answer"));
	}
}

/*
 * Reads the reply out of what has arrived so far.
 */
static ExchangeResult
read_reply(Exchange *ex, const char *buffer, size_t filled, WireReply *reply, bool *complete)
{
	WireHead	head;
	const char *problem = NULL;
	WireResult	result = wire_read_head(buffer, filled, &head, &problem);

	if (result == WIRE_OK)
		result = wire_read_body(&head, buffer + head.size, filled - head.size, reply, &problem);
	if (result == WIRE_BAD)
		return fail(ex, EXCHANGE_PROTOCOL, pstrdup(problem));
	*complete = (result == WIRE_OK);
	return EXCHANGE_ANSWERED;
}

/*
 * Waits for an event on the socket (0 for none), for the latch or for
 * `at_most_ms`, and serves interrupts; false when the deadline has passed.
 */
static bool
wait_for(Exchange *ex, int events, long at_most_ms)
{
	long		left = milliseconds_left(ex);
	int			rc;

	if (left <= 0)
		return false;
	rc = WaitLatchOrSocket(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH | events,
						   events != 0 ? ex->sock : PGINVALID_SOCKET,
						   Min(left, at_most_ms), ex->wait_event);
	if ((rc & WL_LATCH_SET) != 0)
	{
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return true;
}

/*
 * Time until the deadline on the monotonic clock, rounded up: a wait of zero
 * would spin.
 */
static long
milliseconds_left(const Exchange *ex)
{
	instr_time	elapsed;

	INSTR_TIME_SET_CURRENT(elapsed);
	INSTR_TIME_SUBTRACT(elapsed, ex->start);
	return ((int64) ex->timeout_ms * 1000 - (int64) INSTR_TIME_GET_MICROSEC(elapsed) + 999) / 1000;
}

static ExchangeResult
fail(Exchange *ex, ExchangeResult result, char *problem)
{
	*ex->problem = problem;
	return result;
}
