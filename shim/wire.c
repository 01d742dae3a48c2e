/*-------------------------------------------------------------------------
 *
 * wire.c
 *	  The callout protocol as text: the request that asks pgoauthd about a
 *	  token, and the reply that says what it judged (docs/callout.md).
 *
 * A reply decides over a login, so nothing in it is taken with goodwill: what
 * is not exactly as documented is refused, with a sentence that says what was
 * wrong and never quotes the reply.
 *
 * shim/wire.c
 *
 *-------------------------------------------------------------------------
 */
#include "wire.h"

#include <string.h>
#include <strings.h>

#include "wirejson.h"

/* Longest member name of the protocol, with its NUL, rounded up. */
#define NAME_SIZE 32

/* The members that are read; others may come and are skipped. */
typedef enum Member
{
	MEMBER_AUTHORIZED,
	MEMBER_AUTHN_ID,
	MEMBER_REASON,
	MEMBER_STAGE,
	MEMBER_FAULT,
	MEMBER_MESSAGE,
	MEMBER_REMEDY,
	MEMBER_UNKNOWN,
} Member;

static const char *const member_names[] = {
	[MEMBER_AUTHORIZED] = "authorized",
	[MEMBER_AUTHN_ID] = "authn_id",
	[MEMBER_REASON] = "reason",
	[MEMBER_STAGE] = "stage",
	[MEMBER_FAULT] = "fault",
	[MEMBER_MESSAGE] = "message",
	[MEMBER_REMEDY] = "remedy",
};

static void put_body(WireText *text, const WireRequest *request);
static void put_member(WireText *text, const char *name, const char *value);
static void put_number(WireText *text, const char *name, int value);
static WireResult bad(const char **problem, const char *sentence);
static WireResult read_status_line(const char *line, size_t length, WireHead *head,
								   const char **problem);
static WireResult read_header(const char *line, size_t length, WireHead *head,
							  bool *has_length, const char **problem);
static WireResult read_content_length(const char *value, size_t length, WireHead *head,
									  const char **problem);
static bool is_header_name(const char *name, size_t length);
static bool is_header_value(const char *value, size_t length);
static bool is_name(const char *name, size_t length, const char *expected);
static WireResult read_member(WireCursor *cursor, WireReply *reply, unsigned int *seen,
							  const char **problem);
static bool read_name(WireCursor *cursor, Member *member);
static WireResult read_value(WireCursor *cursor, Member member, WireReply *reply,
							 const char **problem);
static WireResult read_authn_id(WireCursor *cursor, WireReply *reply, const char **problem);
static WireResult read_reason(WireCursor *cursor, WireReply *reply, const char **problem);
static WireResult read_text(WireCursor *cursor, char *buffer, size_t size,
							const char **problem);
static WireResult check_reply(const WireHead *head, const WireReply *reply, unsigned int seen,
							  const char **problem);

/*
 * Writes the HTTP request for a login, and returns the bytes that it needs.
 * Where `size` is less than that, the buffer holds no usable request; call
 * with size 0 first to learn how large it must be.
 */
size_t
wire_build_request(const WireRequest *request, char *buffer, size_t size)
{
	WireText	body = {0};
	WireText	text = {.buffer = buffer, .size = size};

	/* Content-Length comes before the body, so the body is measured first. */
	put_body(&body, request);

	wirejson_put(&text, "POST /v1/validate HTTP/1.1\r\n"
				 "Host: localhost\r\n"
				 "User-Agent: pgoauthd-shim/" PGOAUTHD_VERSION "\r\n"
				 "Content-Type: application/json\r\n"
				 "Accept: application/json\r\n"
				 "Connection: close\r\n"
				 "Content-Length: ");
	wirejson_put_int(&text, (long) body.length);
	wirejson_put(&text, "\r\n\r\n");
	put_body(&text, request);
	return text.length;
}

static void
put_body(WireText *text, const WireRequest *request)
{
	wirejson_put(text, "{\"token\":");
	wirejson_put_string(text, request->token);
	put_member(text, "role", request->role);
	put_member(text, "database", request->database);
	put_member(text, "client_addr", request->client_addr);
	if (request->client_port > 0)
		put_number(text, "client_port", request->client_port);
	else
		put_member(text, "client_port", NULL);
	put_member(text, "session_id", request->session_id);
	put_number(text, "pid", request->pid);
	put_member(text, "hba_file", request->hba_file);
	put_number(text, "hba_line", request->hba_line);
	put_member(text, "issuer", request->issuer);
	put_member(text, "scope", request->scope);
	put_member(text, "audience", request->audience);
	put_member(text, "usermap", request->usermap);
	wirejson_put(text, request->delegate ? ",\"delegate\":true" : ",\"delegate\":false");
	put_number(text, "server_version", request->server_version);
	put_member(text, "cluster_name", request->cluster_name);
	wirejson_put(text, "}");
}

static void
put_member(WireText *text, const char *name, const char *value)
{
	wirejson_put(text, ",");
	wirejson_put_string(text, name);
	wirejson_put(text, ":");
	wirejson_put_string(text, value);
}

static void
put_number(WireText *text, const char *name, int value)
{
	wirejson_put(text, ",");
	wirejson_put_string(text, name);
	wirejson_put(text, ":");
	wirejson_put_int(text, value);
}

static WireResult
bad(const char **problem, const char *sentence)
{
	*problem = sentence;
	return WIRE_BAD;
}

/*
 * Reads the head of a reply out of what has arrived so far; WIRE_MORE until
 * its empty line is there.  Lines end in CRLF, nothing is folded, the length
 * is said exactly once (RFC 9112 sections 2.2, 5.2, 6.3).
 */
WireResult
wire_read_head(const char *bytes, size_t length, WireHead *head, const char **problem)
{
	size_t		limit = length < WIRE_MAX_HEAD ? length : WIRE_MAX_HEAD;
	size_t		at = 0;
	bool		has_length = false;

	memset(head, 0, sizeof(*head));
	for (;;)
	{
		const char *line = bytes + at;
		const char *feed = memchr(line, '\n', limit - at);
		size_t		line_length;
		WireResult	result;

		if (feed == NULL)
			return limit < WIRE_MAX_HEAD ? WIRE_MORE :
				bad(problem, "its headers are longer than 8 KiB");
		if (feed == line || feed[-1] != '\r')
			return bad(problem, "a header line does not end in CRLF");
		line_length = (size_t) (feed - line) - 1;

		if (at == 0)
			result = read_status_line(line, line_length, head, problem);
		else if (line_length > 0)
			result = read_header(line, line_length, head, &has_length, problem);
		else
			break;
		if (result != WIRE_OK)
			return result;
		at += line_length + 2;
	}

	if (!has_length)
		return bad(problem, "it has no Content-Length");
	head->size = at + 2;
	return WIRE_OK;
}

/*
 * Reads "HTTP/1.1 200 OK".  An interim answer (1xx) is refused: none is due.
 */
static WireResult
read_status_line(const char *line, size_t length, WireHead *head, const char **problem)
{
	const char *digits = line + strlen("HTTP/1.x ");

	if (length < strlen("HTTP/1.x 200") || memcmp(line, "HTTP/1.", 7) != 0 ||
		(line[7] != '0' && line[7] != '1') || line[8] != ' ' ||
		(length > strlen("HTTP/1.x 200") && digits[3] != ' ') ||
		!is_header_value(line, length))
		return bad(problem, "it does not begin with an HTTP/1.1 status line");

	for (int i = 0; i < 3; i++)
	{
		if (digits[i] < '0' || digits[i] > '9')
			return bad(problem, "it does not begin with an HTTP/1.1 status line");
		head->status = head->status * 10 + (digits[i] - '0');
	}
	if (head->status < 200 || head->status > 599)
		return bad(problem, "its status is not between 200 and 599");
	return WIRE_OK;
}

static WireResult
read_header(const char *line, size_t length, WireHead *head, bool *has_length,
			const char **problem)
{
	const char *colon = memchr(line, ':', length);
	const char *value;
	const char *end = line + length;

	if (colon == NULL || !is_header_name(line, (size_t) (colon - line)) ||
		!is_header_value(colon + 1, (size_t) (end - colon) - 1))
		return bad(problem, "a header line is malformed");

	/* Two ways to say how long a body is are one too many. */
	if (is_name(line, (size_t) (colon - line), "Transfer-Encoding"))
		return bad(problem, "it has a Transfer-Encoding");
	if (!is_name(line, (size_t) (colon - line), "Content-Length"))
		return WIRE_OK;
	if (*has_length)
		return bad(problem, "it has more than one Content-Length");

	*has_length = true;
	for (value = colon + 1; value < end && (*value == ' ' || *value == '\t');)
		value++;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	return read_content_length(value, (size_t) (end - value), head, problem);
}

static WireResult
read_content_length(const char *value, size_t length, WireHead *head, const char **problem)
{
	if (length == 0)
		return bad(problem, "its Content-Length is not a number");
	for (size_t i = 0; i < length; i++)
	{
		if (value[i] < '0' || value[i] > '9')
			return bad(problem, "its Content-Length is not a number");
		head->content_length = head->content_length * 10 + (size_t) (value[i] - '0');
		if (head->content_length > WIRE_MAX_BODY)
			return bad(problem, "it is longer than 64 KiB");
	}
	return WIRE_OK;
}

/*
 * A token of RFC 9110 section 5.6.2.  A line that continues another begins
 * with a space, so it fails here.
 */
static bool
is_header_name(const char *name, size_t length)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < length; i++)
	{
		if (memchr(allowed, name[i], sizeof(allowed) - 1) == NULL)
			return false;
	}
	return length > 0;
}

static bool
is_header_value(const char *value, size_t length)
{
	for (size_t i = 0; i < length; i++)
	{
		unsigned char c = (unsigned char) value[i];

		if ((c < 0x20 && c != '\t') || c == 0x7F)
			return false;
	}
	return true;
}

static bool
is_name(const char *name, size_t length, const char *expected)
{
	return length == strlen(expected) && strncasecmp(name, expected, length) == 0;
}

/*
 * Reads the body of a reply, all of it: one JSON object and nothing after it.
 * `length` is what arrived behind the head; WIRE_MORE while that is less than
 * the head announced.
 */
WireResult
wire_read_body(const WireHead *head, const char *body, size_t length,
			   WireReply *reply, const char **problem)
{
	WireCursor	cursor;
	unsigned int seen = 0;

	memset(reply, 0, sizeof(*reply));
	if (length < head->content_length)
		return WIRE_MORE;
	if (length > head->content_length)
		return bad(problem, "something follows it");

	cursor.at = body;
	cursor.end = body + length;
	wirejson_skip_space(&cursor);
	if (!wirejson_take(&cursor, '{'))
		return bad(problem, "it is not a JSON object");
	wirejson_skip_space(&cursor);
	if (!wirejson_take(&cursor, '}'))
	{
		do
		{
			WireResult	result = read_member(&cursor, reply, &seen, problem);

			if (result != WIRE_OK)
				return result;
		} while (wirejson_take(&cursor, ','));
		if (!wirejson_take(&cursor, '}'))
			return bad(problem, "it is not a JSON object");
	}
	wirejson_skip_space(&cursor);
	if (cursor.at != cursor.end)
		return bad(problem, "something follows its JSON object");
	return check_reply(head, reply, seen, problem);
}

/*
 * Reads one member with the spaces around it.  A member of ours that comes
 * twice is refused, as parsers differ on which of the two counts.
 */
static WireResult
read_member(WireCursor *cursor, WireReply *reply, unsigned int *seen, const char **problem)
{
	Member		member;
	WireResult	result;

	wirejson_skip_space(cursor);
	if (!read_name(cursor, &member))
		return bad(problem, "it is not a JSON object");
	wirejson_skip_space(cursor);
	if (!wirejson_take(cursor, ':'))
		return bad(problem, "it is not a JSON object");
	wirejson_skip_space(cursor);

	if (member != MEMBER_UNKNOWN && (*seen & (1U << member)) != 0)
		return bad(problem, "it has a member twice");
	*seen |= 1U << member;

	result = read_value(cursor, member, reply, problem);
	wirejson_skip_space(cursor);
	return result;
}

static bool
read_name(WireCursor *cursor, Member *member)
{
	char		buffer[NAME_SIZE];
	WireString	name = {.buffer = buffer, .size = sizeof(buffer)};

	*member = MEMBER_UNKNOWN;
	if (!wirejson_read_string(cursor, &name))
		return false;
	for (int i = 0; i < MEMBER_UNKNOWN; i++)
	{
		if (!name.cut && strcmp(buffer, member_names[i]) == 0)
			*member = (Member) i;
	}
	return true;
}

static WireResult
read_value(WireCursor *cursor, Member member, WireReply *reply, const char **problem)
{
	switch (member)
	{
		case MEMBER_AUTHORIZED:
			return wirejson_read_bool(cursor, &reply->authorized) ? WIRE_OK :
				bad(problem, "its authorized is neither true nor false");
		case MEMBER_AUTHN_ID:
			return read_authn_id(cursor, reply, problem);
		case MEMBER_REASON:
			return read_reason(cursor, reply, problem);
		case MEMBER_MESSAGE:
			return read_text(cursor, reply->message, sizeof(reply->message), problem);
		case MEMBER_REMEDY:
			return read_text(cursor, reply->remedy, sizeof(reply->remedy), problem);
		case MEMBER_STAGE:
		case MEMBER_FAULT:
			/* for readers of the protocol other than the server's log */
			return read_text(cursor, NULL, 0, problem);
		case MEMBER_UNKNOWN:
			break;
	}
	return wirejson_skip_value(cursor, 1) ? WIRE_OK :
		bad(problem, "an unknown member is malformed or nested too deep");
}

/*
 * Reads the identity, which PostgreSQL logs and maps: what could forge a log
 * entry, or would have to be cut, is no identity.
 */
static WireResult
read_authn_id(WireCursor *cursor, WireReply *reply, const char **problem)
{
	WireString	string = {.buffer = reply->authn_id, .size = sizeof(reply->authn_id)};

	if (wirejson_take_word(cursor, "null"))
		return WIRE_OK;
	if (!wirejson_read_string(cursor, &string))
		return bad(problem, "its authn_id is not a string");
	if (string.had_controls)
		return bad(problem, "its authn_id holds control characters");
	if (string.cut)
		return bad(problem, "its authn_id is longer than 256 bytes");
	reply->has_authn_id = reply->authn_id[0] != '\0';
	return WIRE_OK;
}

static WireResult
read_reason(WireCursor *cursor, WireReply *reply, const char **problem)
{
	WireString	string = {.buffer = reply->reason, .size = sizeof(reply->reason)};

	if (!wirejson_read_string(cursor, &string) || string.cut || reply->reason[0] == '\0' ||
		reply->reason[strspn(reply->reason, "abcdefghijklmnopqrstuvwxyz0123456789_")] != '\0')
		return bad(problem, "its reason is not a code of a-z, 0-9 and _");
	return WIRE_OK;
}

static WireResult
read_text(WireCursor *cursor, char *buffer, size_t size, const char **problem)
{
	WireString	string = {.buffer = buffer, .size = size};

	return wirejson_read_string(cursor, &string) ? WIRE_OK :
		bad(problem, "a member that should be a string is not one");
}

/*
 * What must hold of a reply as a whole: only status 200 may say yes.
 */
static WireResult
check_reply(const WireHead *head, const WireReply *reply, unsigned int seen,
			const char **problem)
{
	const unsigned int required =
		(1U << MEMBER_AUTHORIZED) | (1U << MEMBER_REASON) | (1U << MEMBER_MESSAGE);

	if ((seen & required) != required)
		return bad(problem, "it lacks authorized, reason or message");
	if (reply->authorized && head->status != 200)
		return bad(problem, "it is an error that authorizes");
	return WIRE_OK;
}
