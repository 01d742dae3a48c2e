/*-------------------------------------------------------------------------
 *
 * check_wire.c
 *	  Unit tests of wire.c and wirejson.c; needs neither PostgreSQL nor a
 *	  test framework.
 *
 * Each check names one fact.  Refusals outnumber acceptances, as they do in
 * the code.
 *
 * shim/check_wire.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"
#include "wirejson.h"

static int	passed = 0;
static int	failed = 0;

#define REQUIRED "\"authorized\":false,\"reason\":\"expired\",\"message\":\"m\""

/*
 * Texts are copied to the end of a heap block of exactly their size, so that
 * AddressSanitizer sees a read past the end.
 */
static char *
exact_copy(const char *text, size_t length)
{
	char	   *copy = malloc(length > 0 ? length : 1);

	if (copy == NULL)
		abort();
	memcpy(copy, text, length);
	return copy;
}

static void
check(const char *fact, bool holds)
{
	if (holds)
		passed++;
	else
	{
		failed++;
		printf("FAILED: %s\n", fact);
	}
}

static WireResult
head_of(const char *text, WireHead *head, const char **problem)
{
	char	   *copy = exact_copy(text, strlen(text));
	WireResult	result = wire_read_head(copy, strlen(text), head, problem);

	free(copy);
	return result;
}

static WireResult
body_of(int status, const char *text, size_t length, WireReply *reply, const char **problem)
{
	WireHead	head = {.status = status, .content_length = length};
	char	   *copy = exact_copy(text, length);
	WireResult	result = wire_read_body(&head, copy, length, reply, problem);

	free(copy);
	return result;
}

static void
accepts_head(const char *fact, const char *text)
{
	WireHead	head;
	const char *problem = NULL;

	check(fact, head_of(text, &head, &problem) == WIRE_OK && head.status == 200 &&
		  head.content_length == 2 && head.size == strlen(text));
}

static void
refuses_head(const char *fact, const char *text, const char *expected)
{
	WireHead	head;
	const char *problem = "";

	check(fact, head_of(text, &head, &problem) == WIRE_BAD && strcmp(problem, expected) == 0);
}

static void
accepts_body(const char *fact, const char *text)
{
	WireReply	reply;
	const char *problem = NULL;

	check(fact, body_of(200, text, strlen(text), &reply, &problem) == WIRE_OK);
}

static void
refuses_body(const char *fact, const char *text, const char *expected)
{
	WireReply	reply;
	const char *problem = "";

	check(fact, body_of(200, text, strlen(text), &reply, &problem) == WIRE_BAD &&
		  strcmp(problem, expected) == 0);
}

static void
reads_message(const char *fact, const char *json, const char *expected)
{
	char		text[8192];
	WireReply	reply;
	const char *problem = NULL;

	snprintf(text, sizeof(text),
			 "{\"authorized\":false,\"reason\":\"expired\",\"message\":%s}", json);
	check(fact, body_of(200, text, strlen(text), &reply, &problem) == WIRE_OK &&
		  strcmp(reply.message, expected) == 0);
}

static void
refuses_message(const char *fact, const char *json)
{
	char		text[512];

	snprintf(text, sizeof(text),
			 "{\"authorized\":false,\"reason\":\"expired\",\"message\":%s}", json);
	refuses_body(fact, text, "a member that should be a string is not one");
}

static void
refuses_authn_id(const char *fact, const char *json, const char *expected)
{
	char		text[2048];

	snprintf(text, sizeof(text), "{" REQUIRED ",\"authn_id\":%s}", json);
	refuses_body(fact, text, expected);
}

static void
refuses_reason(const char *fact, const char *json)
{
	char		text[512];

	snprintf(text, sizeof(text), "{\"authorized\":false,\"message\":\"m\",\"reason\":%s}", json);
	refuses_body(fact, text, "its reason is not a code of a-z, 0-9 and _");
}

static void
skips(const char *fact, const char *json)
{
	char		text[512];

	snprintf(text, sizeof(text), "{\"new\":%s," REQUIRED "}", json);
	accepts_body(fact, text);
}

static void
refuses_to_skip(const char *fact, const char *json)
{
	char		text[512];

	snprintf(text, sizeof(text), "{\"new\":%s," REQUIRED "}", json);
	refuses_body(fact, text, "an unknown member is malformed or nested too deep");
}

static void
check_heads(void)
{
	static const char no_status[] = "it does not begin with an HTTP/1.1 status line";
	static const char no_number[] = "its Content-Length is not a number";
	static const char malformed[] = "a header line is malformed";

	accepts_head("a plain head is read", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
	accepts_head("HTTP/1.0 is read", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n");
	accepts_head("a reason phrase may be missing", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n");
	accepts_head("a reason phrase may be empty", "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\n");
	accepts_head("header names have no case", "HTTP/1.1 200 OK\r\ncOnTeNt-lEnGtH:2\r\n\r\n");
	accepts_head("space around a value is no part of it", "HTTP/1.1 200 OK\r\nContent-Length: \t2 \t\r\n\r\n");
	accepts_head("other headers are skipped",
				 "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 2\r\nX-Empty:\r\n\r\n");
	accepts_head("leading zeros do not change a length", "HTTP/1.1 200 OK\r\nContent-Length: 0002\r\n\r\n");

	refuses_head("no Content-Length", "HTTP/1.1 200 OK\r\n\r\n", "it has no Content-Length");
	refuses_head("two equal Content-Lengths",
				 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n",
				 "it has more than one Content-Length");
	refuses_head("a chunked body", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
				 "it has a Transfer-Encoding");
	refuses_head("a chunked body with a length",
				 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
				 "it has a Transfer-Encoding");
	refuses_head("an empty length", "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n", no_number);
	refuses_head("a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n", no_number);
	refuses_head("a signed length", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n", no_number);
	refuses_head("a hexadecimal length", "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\n", no_number);
	refuses_head("a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n", no_number);
	refuses_head("a length of 64 KiB and a byte", "HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n",
				 "it is longer than 64 KiB");
	refuses_head("a length that overflows",
				 "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999999\r\n\r\n",
				 "it is longer than 64 KiB");
	refuses_head("bare line feeds", "HTTP/1.1 200 OK\nContent-Length: 2\n\n",
				 "a header line does not end in CRLF");
	refuses_head("an empty first line", "\r\n", no_status);
	refuses_head("a line feed and nothing before it", "\n", "a header line does not end in CRLF");
	refuses_head("a minor version that is not known", "HTTP/1.2 200 OK\r\n", no_status);
	refuses_head("another protocol", "SSH-2.0-OpenSSH\r\n", no_status);
	refuses_head("HTTP/2 in clear", "HTTP/2.0 200 OK\r\n", no_status);
	refuses_head("a status of four digits", "HTTP/1.1 2000\r\n", no_status);
	refuses_head("a status with a letter", "HTTP/1.1 2x0 OK\r\n", no_status);
	refuses_head("a control character in the status line", "HTTP/1.1 200 O\001K\r\n", no_status);
	refuses_head("an interim answer", "HTTP/1.1 100 Continue\r\n\r\n",
				 "its status is not between 200 and 599");
	refuses_head("a status out of range", "HTTP/1.1 600 X\r\n", "its status is not between 200 and 599");
	refuses_head("a folded line", "HTTP/1.1 200 OK\r\nA: b\r\n c: d\r\n", malformed);
	refuses_head("a space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n", malformed);
	refuses_head("a header without a colon", "HTTP/1.1 200 OK\r\nContent-Length\r\n", malformed);
	refuses_head("a header without a name", "HTTP/1.1 200 OK\r\n: 2\r\n", malformed);
	refuses_head("a control character in a value", "HTTP/1.1 200 OK\r\nA: \033[2J\r\n", malformed);
}

/*
 * Every beginning of a good head is WIRE_MORE, and so is an endless line until
 * the limit.
 */
static void
check_partial_heads(void)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
	static char endless[WIRE_MAX_HEAD + 1];
	WireHead	head;
	const char *problem = NULL;
	bool		all = true;

	for (size_t length = 0; length < strlen(text); length++)
	{
		char	   *copy = exact_copy(text, length);

		all = all && wire_read_head(copy, length, &head, &problem) == WIRE_MORE;
		free(copy);
	}
	check("every beginning of a head asks for more", all);

	memset(endless, 'a', sizeof(endless));
	check("a long line asks for more",
		  wire_read_head(endless, WIRE_MAX_HEAD - 1, &head, &problem) == WIRE_MORE);
	check("a head of more than 8 KiB is refused",
		  wire_read_head(endless, WIRE_MAX_HEAD, &head, &problem) == WIRE_BAD);
}

static void
check_bodies(void)
{
	static const char no_object[] = "it is not a JSON object";
	static const char twice[] = "it has a member twice";
	static const char lacks[] = "it lacks authorized, reason or message";

	accepts_body("a reply with what it must have", "{" REQUIRED "}");
	accepts_body("white space anywhere",
				 " \r\n{ \"authorized\" :\tfalse , \"reason\" : \"a\" , \"message\" : \"\" } \n");
	accepts_body("an unknown member twice", "{\"new\":1,\"new\":2," REQUIRED "}");
	accepts_body("a long unknown name that begins like ours",
				 "{\"authorized_authorized_authorized_authorized\":1," REQUIRED "}");

	refuses_body("an empty body", "", no_object);
	refuses_body("an empty object", "{}", lacks);
	refuses_body("no authorized", "{\"reason\":\"a\",\"message\":\"m\"}", lacks);
	refuses_body("no reason", "{\"authorized\":false,\"message\":\"m\"}", lacks);
	refuses_body("no message", "{\"authorized\":false,\"reason\":\"a\"}", lacks);
	refuses_body("an array", "[" REQUIRED "]", no_object);
	refuses_body("a string", "\"authorized\"", no_object);
	refuses_body("a byte order mark", "\xEF\xBB\xBF{" REQUIRED "}", no_object);
	refuses_body("UTF-16", "\xFF\xFE{" REQUIRED "}", no_object);
	refuses_body("an unclosed object", "{" REQUIRED, no_object);
	refuses_body("a body that ends inside a character", "{\"\xE2\x82", no_object);
	refuses_body("a body that ends inside an escape", "{\"\\u00", no_object);
	refuses_body("a comma before the end", "{" REQUIRED ",}", no_object);
	refuses_body("a comma at the beginning", "{," REQUIRED "}", no_object);
	refuses_body("a missing comma", "{" REQUIRED " \"new\":1}", no_object);
	refuses_body("a missing colon", "{\"new\" 1}", no_object);
	refuses_body("a name without quotes", "{new:1}", no_object);
	refuses_body("a comment", "{/**/" REQUIRED "}", no_object);
	refuses_body("something after the object", "{" REQUIRED "}x", "something follows its JSON object");
	refuses_body("a second object", "{" REQUIRED "}{}", "something follows its JSON object");
	refuses_body("authorized twice", "{" REQUIRED ",\"authorized\":true}", twice);
	refuses_body("authorized twice, once escaped", "{" REQUIRED ",\"\\u0061uthorized\":true}", twice);
	refuses_body("reason twice", "{" REQUIRED ",\"reason\":\"a\"}", twice);
	refuses_body("authn_id twice", "{" REQUIRED ",\"authn_id\":\"a\",\"authn_id\":\"b\"}", twice);
	refuses_body("authorized as a string", "{\"authorized\":\"true\"}",
				 "its authorized is neither true nor false");
	refuses_body("authorized as a number", "{\"authorized\":1}",
				 "its authorized is neither true nor false");
	refuses_body("authorized in capitals", "{\"authorized\":True}",
				 "its authorized is neither true nor false");
	refuses_body("authorized as null", "{\"authorized\":null}",
				 "its authorized is neither true nor false");
	refuses_body("a stage that is no string", "{\"stage\":1," REQUIRED "}",
				 "a member that should be a string is not one");
	refuses_body("a remedy that is null", "{\"remedy\":null," REQUIRED "}",
				 "a member that should be a string is not one");
}

/*
 * The answer's length is what its head says, to the byte.
 */
static void
check_lengths(void)
{
	static const char body[] = "{" REQUIRED "} ";
	WireHead	head = {.status = 200, .content_length = sizeof(body) - 2};
	WireReply	reply;
	const char *problem = NULL;

	check("a body that is not all there asks for more",
		  wire_read_body(&head, body, sizeof(body) - 3, &reply, &problem) == WIRE_MORE);
	check("a body with a space too many is refused",
		  wire_read_body(&head, body, sizeof(body) - 1, &reply, &problem) == WIRE_BAD);
	head.content_length = 0;
	check("a body of no length is refused",
		  wire_read_body(&head, body, 0, &reply, &problem) == WIRE_BAD);
}

static void
check_verdicts(void)
{
	static const char yes[] =
		"{\"authorized\":true,\"authn_id\":\"alice@example.org\",\"reason\":\"ok\","
		"\"stage\":\"none\",\"fault\":\"none\",\"message\":\"The login succeeded.\",\"remedy\":\"Nothing to do.\"}";
	static const char no[] =
		"{\"authorized\":false,\"authn_id\":null,\"reason\":\"expired\",\"stage\":\"claims\","
		"\"fault\":\"client\",\"message\":\"The token has expired.\",\"remedy\":\"Get a new token.\"}";
	WireReply	reply;
	const char *problem = NULL;

	check("a yes is read", body_of(200, yes, strlen(yes), &reply, &problem) == WIRE_OK &&
		  reply.authorized && reply.has_authn_id &&
		  strcmp(reply.authn_id, "alice@example.org") == 0 && strcmp(reply.reason, "ok") == 0);
	check("a no is read", body_of(200, no, strlen(no), &reply, &problem) == WIRE_OK &&
		  !reply.authorized && !reply.has_authn_id && strcmp(reply.reason, "expired") == 0 &&
		  strcmp(reply.message, "The token has expired.") == 0 &&
		  strcmp(reply.remedy, "Get a new token.") == 0);
	check("a no with an error status is read",
		  body_of(503, no, strlen(no), &reply, &problem) == WIRE_OK && !reply.authorized);
	check("a yes with an error status is refused",
		  body_of(500, yes, strlen(yes), &reply, &problem) == WIRE_BAD);
	check("a yes with another success status is refused",
		  body_of(201, yes, strlen(yes), &reply, &problem) == WIRE_BAD);
	check("a NUL in the body is refused",
		  body_of(200, "{" REQUIRED "}\0", sizeof("{" REQUIRED "}"), &reply, &problem) == WIRE_BAD);
}

static void
check_strings(void)
{
	reads_message("escapes are decoded", "\"\\\"\\\\\\/ \\u0041\"", "\"\\/ A");
	reads_message("a surrogate pair is one character", "\"\\uD83D\\ude00\"", "\xF0\x9F\x98\x80");
	reads_message("UTF-8 stays as it is", "\"\xC3\xA9\xE2\x82\xAC\"", "\xC3\xA9\xE2\x82\xAC");
	reads_message("escaped control characters become question marks",
				  "\"a\\nb\\tc\\u001bd\\u007fe\"", "a?b?c?d?e");
	reads_message("C1 controls become question marks", "\"a\xC2\x85" "b\"", "a?b");
	reads_message("bidirectional controls become question marks", "\"a\\u202eb\\u2066c\"", "a?b?c");
	reads_message("line separators become question marks", "\"a\\u2028b\"", "a?b");

	refuses_message("an unclosed string", "\"a");
	refuses_message("a string in single quotes", "'a'");
	refuses_message("a raw line feed", "\"a\nb\"");
	refuses_message("a raw tab", "\"a\tb\"");
	refuses_message("an escaped NUL", "\"a\\u0000b\"");
	refuses_message("an unknown escape", "\"\\x41\"");
	refuses_message("a short escape", "\"\\u41\"");
	refuses_message("an escape with a sign", "\"\\u+041\"");
	refuses_message("a lone high surrogate", "\"\\ud83d\"");
	refuses_message("a lone low surrogate", "\"\\ude00\"");
	refuses_message("surrogates in the wrong order", "\"\\ude00\\ud83d\"");
	refuses_message("two low surrogates", "\"\\ude00\\ude00\"");
	refuses_message("a high surrogate before a letter", "\"\\ud83d\\u0041\"");
	refuses_message("a surrogate in UTF-8", "\"\xED\xA0\xBD\"");
	refuses_message("an overlong form", "\"\xC0\xAF\"");
	refuses_message("an overlong form of three bytes", "\"\xE0\x80\xAF\"");
	refuses_message("a code beyond Unicode", "\"\xF4\x90\x80\x80\"");
	refuses_message("a lone continuation byte", "\"\x80\"");
	refuses_message("a truncated character", "\"\xE2\x82\"");
	refuses_message("a byte that UTF-8 never has", "\"\xFF\"");
}

/*
 * Long messages end at a character, not in the middle of one.
 */
static void
check_cutting(void)
{
	char		json[4096];
	char		expected[4096];
	size_t		used = 0;

	json[used++] = '"';
	json[used++] = 'x';
	while (used < 3000)
	{
		memcpy(json + used, "\xE2\x82\xAC", 3);
		used += 3;
	}
	memcpy(json + used, "tail\"", sizeof("tail\""));

	/* x and 333 characters of three bytes are the 1000 bytes that fit */
	memcpy(expected, json + 1, 1000);
	expected[1000] = '\0';
	reads_message("a message is cut at 1000 bytes", json, expected);

	/* without the x, the 334th character would not fit whole */
	memmove(json + 1, json + 2, used + sizeof("tail\"") - 2);
	memcpy(expected, json + 1, 999);
	expected[999] = '\0';
	reads_message("a message is cut between characters", json, expected);
}

static void
check_identities(void)
{
	static const char controls[] = "its authn_id holds control characters";
	char		json[512];
	char		text[1024];
	WireReply	reply;
	const char *problem = NULL;

	refuses_authn_id("a line feed in an identity", "\"a\\nb\"", controls);
	refuses_authn_id("DEL in an identity", "\"a\x7F\"", controls);
	refuses_authn_id("C1 in an identity", "\"a\\u009b\"", controls);
	refuses_authn_id("a bidirectional control in an identity", "\"a\\u202e\"", controls);
	refuses_authn_id("NUL in an identity", "\"a\\u0000\"", "its authn_id is not a string");
	refuses_authn_id("a number as identity", "7", "its authn_id is not a string");
	refuses_authn_id("an object as identity", "{}", "its authn_id is not a string");

	memset(json, 'a', sizeof(json));
	json[0] = json[258] = '"';
	json[259] = '\0';
	refuses_authn_id("an identity of 257 bytes", json, "its authn_id is longer than 256 bytes");
	json[257] = '"';
	json[258] = '\0';
	snprintf(text, sizeof(text), "{" REQUIRED ",\"authn_id\":%s}", json);
	check("an identity of 256 bytes is read",
		  body_of(200, text, strlen(text), &reply, &problem) == WIRE_OK &&
		  strlen(reply.authn_id) == 256);

	check("an empty identity is none",
		  body_of(200, "{" REQUIRED ",\"authn_id\":\"\"}", strlen("{" REQUIRED ",\"authn_id\":\"\"}"),
				  &reply, &problem) == WIRE_OK && !reply.has_authn_id);
}

static void
check_reasons(void)
{
	refuses_reason("an empty reason", "\"\"");
	refuses_reason("a reason in capitals", "\"Expired\"");
	refuses_reason("a reason with a bracket", "\"a]b\"");
	refuses_reason("a reason with a line feed", "\"a\\nb\"");
	refuses_reason("a reason that is null", "null");
	refuses_reason("a reason of 65 characters",
				   "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"");
	accepts_body("a reason of 64 characters",
				 "{\"authorized\":false,\"message\":\"\",\"reason\":"
				 "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}");
}

static void
check_skipping(void)
{
	skips("a nested object", "{\"a\":{\"b\":[1,2,{\"c\":null}]},\"d\":\"e\"}");
	skips("an empty object", "{ }");
	skips("an empty array", "[ ]");
	skips("an array with spaces", "[ 1 , true , false ]");
	skips("zero", "0");
	skips("a negative fraction with exponent", "-12.50E+3");
	skips("a small number", "1e-9");
	skips("a string with escapes", "\"\\u0041\\n\"");
	skips("sixteen levels", "[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]");

	refuses_to_skip("seventeen levels", "[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]");
	refuses_to_skip("nothing", "");
	refuses_to_skip("a leading plus", "+1");
	refuses_to_skip("a lone minus", "-");
	refuses_to_skip("a fraction without digits", "1.");
	refuses_to_skip("a fraction without a whole", ".5");
	refuses_to_skip("an exponent without digits", "1e+");
	refuses_to_skip("NaN", "NaN");
	refuses_to_skip("infinity", "Infinity");
	refuses_to_skip("an open array", "[1");
	refuses_to_skip("an array with a comma at its end", "[1,]");
	refuses_to_skip("an object with a comma at its end", "{\"a\":1,}");
	refuses_to_skip("an object whose name is a number", "{1:2}");
	refuses_to_skip("an object without values", "{\"a\"}");
	refuses_to_skip("brackets that do not pair", "[1}");
	refuses_to_skip("a word in capitals", "NULL");
	refuses_body("a leading zero", "{\"new\":01," REQUIRED "}", "it is not a JSON object");
	refuses_body("a hexadecimal number", "{\"new\":0x1," REQUIRED "}", "it is not a JSON object");
}

static WireRequest
sample_request(void)
{
	return (WireRequest)
	{
		.token = "eyJ.abc.def",
		.role = "alice",
		.database = "app",
		.client_addr = "192.0.2.7",
		.client_port = 40123,
		.session_id = "68a1b2c3.1f4",
		.pid = 500,
		.hba_file = "/etc/pg_hba.conf",
		.hba_line = 12,
		.issuer = "https://issuer.example.org",
		.scope = "openid db",
		.audience = "payroll",
		.usermap = "people",
		.delegate = false,
		.server_version = 180006,
		.cluster_name = "main",
	};
}

static const char sample_body[] =
"{\"token\":\"eyJ.abc.def\",\"role\":\"alice\",\"database\":\"app\",\"client_addr\":\"192.0.2.7\","
"\"client_port\":40123,\"session_id\":\"68a1b2c3.1f4\",\"pid\":500,\"hba_file\":\"/etc/pg_hba.conf\","
"\"hba_line\":12,\"issuer\":\"https://issuer.example.org\",\"scope\":\"openid db\","
"\"audience\":\"payroll\",\"usermap\":\"people\","
"\"delegate\":false,\"server_version\":180006,\"cluster_name\":\"main\"}";

static void
builds(const char *fact, const WireRequest *request, const char *expected)
{
	size_t		size = wire_build_request(request, NULL, 0);
	char	   *text = calloc(size + 1, 1);
	char		length_header[64];
	const char *body;

	if (text == NULL)
		abort();
	wire_build_request(request, text, size);
	body = strstr(text, "\r\n\r\n");
	snprintf(length_header, sizeof(length_header), "\r\nContent-Length: %zu\r\n", strlen(expected));
	check(fact, body != NULL && strcmp(body + 4, expected) == 0 &&
		  strstr(text, length_header) != NULL &&
		  strncmp(text, "POST /v1/validate HTTP/1.1\r\n", 28) == 0);
	free(text);
}

static void
check_requests(void)
{
	WireRequest request = sample_request();
	char		small[64];

	builds("a request is written", &request, sample_body);

	request = (WireRequest)
	{
		.token = "t",
		.role = "r",
		.delegate = true,
	};
	builds("what is not there is null", &request,
		   "{\"token\":\"t\",\"role\":\"r\",\"database\":null,\"client_addr\":null,\"client_port\":null,"
		   "\"session_id\":null,\"pid\":0,\"hba_file\":null,\"hba_line\":0,\"issuer\":null,\"scope\":null,\"audience\":null,"
		   "\"usermap\":null,\"delegate\":true,\"server_version\":0,\"cluster_name\":null}");

	memset(small, '#', sizeof(small));
	check("a request that does not fit stays inside its buffer",
		  wire_build_request(&request, small, sizeof(small) - 1) > sizeof(small) &&
		  small[sizeof(small) - 1] == '#');
}

/*
 * The JSON of one string value, as put into a request.
 */
static void
writes(const char *fact, const char *value, const char *expected)
{
	char		buffer[256];
	WireText	text = {.buffer = buffer, .size = sizeof(buffer)};

	wirejson_put_string(&text, value);
	check(fact, text.length == strlen(expected) && memcmp(buffer, expected, text.length) == 0);
}

static void
check_writing(void)
{
	writes("nothing is null", NULL, "null");
	writes("an empty string", "", "\"\"");
	writes("quotes and backslashes are escaped", "a\"b\\c", "\"a\\\"b\\\\c\"");
	writes("control characters are escaped", "a\001\n\x1f", "\"a\\u0001\\u000a\\u001f\"");
	writes("UTF-8 stays as it is", "\xC3\xA9\xF0\x9F\x98\x80", "\"\xC3\xA9\xF0\x9F\x98\x80\"");
	writes("a byte of Latin-1 becomes U+FFFD", "caf\xE9!", "\"caf\xEF\xBF\xBD!\"");
	writes("a truncated character becomes U+FFFD", "\xE2\x82", "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");
	writes("an overlong form becomes U+FFFD", "\xC0\xAF", "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");
	writes("a surrogate becomes U+FFFD", "\xED\xA0\x80",
		   "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

static void
check_utf8(void)
{
	check("nothing is UTF-8", wirejson_is_utf8(""));
	check("ASCII is UTF-8", wirejson_is_utf8("alice"));
	check("characters of every length are UTF-8",
		  wirejson_is_utf8("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z"));
	check("U+FFFD itself is UTF-8", wirejson_is_utf8("\xEF\xBF\xBD"));
	check("a byte of Latin-1 is not", !wirejson_is_utf8("caf\xE9"));
	check("nor is a truncated character", !wirejson_is_utf8("a\xE2\x82"));
	check("nor is an overlong form", !wirejson_is_utf8("\xC0\xAF"));
	check("nor is a surrogate", !wirejson_is_utf8("\xED\xA0\x80"));
	check("nor is a lone byte after good ones", !wirejson_is_utf8("\xC3\xA9\x80"));
	check("nor is what lies beyond U+10FFFF", !wirejson_is_utf8("\xF4\x90\x80\x80"));
}

int
main(void)
{
	check_heads();
	check_partial_heads();
	check_bodies();
	check_lengths();
	check_verdicts();
	check_strings();
	check_cutting();
	check_identities();
	check_reasons();
	check_skipping();
	check_requests();
	check_writing();
	check_utf8();
	printf("%d passed, %d failed\n", passed, failed);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
