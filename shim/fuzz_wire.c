/*-------------------------------------------------------------------------
 *
 * fuzz_wire.c
 *	  Fuzz target of wire.c and wirejson.c.
 *
 * With clang it is a libFuzzer target.  With -DFUZZ_STANDALONE any compiler
 * builds it together with a small driver that mutates a few good replies in
 * an order fixed by a seed, so that a find can be repeated.
 *
 * shim/fuzz_wire.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"
#include "wirejson.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool holds, const char *property)
{
	if (holds)
		return;
	fprintf(stderr, "violated: %s\n", property);
	abort();
}

/*
 * A string that the shim hands on is terminated, and harmless in a log.
 */
static void
require_printable(const char *text, size_t size)
{
	require(memchr(text, '\0', size) != NULL, "a string is terminated");
	for (; *text != '\0'; text++)
		require((unsigned char) *text >= 0x20 && *text != 0x7F, "a string holds no control character");
}

static void
require_sound(const WireHead *head, const WireReply *reply)
{
	require_printable(reply->authn_id, sizeof(reply->authn_id));
	require_printable(reply->reason, sizeof(reply->reason));
	require_printable(reply->message, sizeof(reply->message));
	require_printable(reply->remedy, sizeof(reply->remedy));
	require(reply->reason[0] != '\0', "a reply has a reason");
	require(!reply->authorized || head->status == 200, "only status 200 authorizes");
	require(reply->has_authn_id == (reply->authn_id[0] != '\0'), "an empty identity is none");
}

/*
 * Whatever comes in: no crash, and what is accepted is sound.  Beginnings of
 * an accepted reply are never refused, so the verdict does not depend on how
 * the bytes arrive.
 */
static void
fuzz_reply(const char *bytes, size_t size)
{
	WireHead	head;
	WireReply	reply;
	const char *problem = NULL;
	WireResult	result = wire_read_head(bytes, size, &head, &problem);

	if (result == WIRE_OK)
	{
		require(head.size <= size && head.size <= WIRE_MAX_HEAD, "a head ends inside the bytes");
		require(head.content_length <= WIRE_MAX_BODY, "a body is bounded");
		result = wire_read_body(&head, bytes + head.size, size - head.size, &reply, &problem);
	}
	require((result == WIRE_BAD) == (problem != NULL), "a refusal says why");
	if (result != WIRE_OK)
		return;

	require_sound(&head, &reply);
	for (size_t length = 0; length < size; length++)
	{
		result = wire_read_head(bytes, length, &head, &problem);
		if (result == WIRE_OK)
			result = wire_read_body(&head, bytes + head.size, length - head.size, &reply, &problem);
		require(result == WIRE_MORE, "a beginning of a good reply asks for more");
	}
}

/*
 * Whatever a request is made of: it is as long as announced, and its body is
 * a JSON object by our own strict reading.
 */
static void
fuzz_request(const char *bytes, size_t size)
{
	char	   *value = malloc(size + 1);
	WireRequest request = {0};
	size_t		needed;
	char	   *text;
	WireCursor	cursor;

	if (value == NULL)
		abort();
	memcpy(value, bytes, size);
	value[size] = '\0';
	request.token = request.role = request.hba_file = request.usermap = value;

	needed = wire_build_request(&request, NULL, 0);
	text = malloc(needed);
	if (text == NULL)
		abort();
	require(wire_build_request(&request, text, needed) == needed, "a request has the size measured");

	cursor.at = memmem(text, needed, "\r\n\r\n", 4);
	require(cursor.at != NULL, "a request has a head");
	cursor.at += 4;
	cursor.end = text + needed;
	require(wirejson_skip_value(&cursor, 0) && cursor.at == cursor.end, "a request is valid JSON");
	free(text);
	free(value);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* a block of exactly that size, so that reading past its end is seen */
	char	   *bytes = malloc(size > 0 ? size : 1);

	if (bytes == NULL)
		abort();
	memcpy(bytes, data, size);
	fuzz_reply(bytes, size);
	fuzz_request(bytes, size);
	free(bytes);
	return 0;
}

#ifdef FUZZ_STANDALONE

#define MAX_INPUT 4096

static const char *const bodies[] = {
	"{\"authorized\":true,\"authn_id\":\"alice\",\"reason\":\"ok\",\"stage\":\"none\",\"fault\":\"none\","
	"\"message\":\"The login succeeded.\",\"remedy\":\"Nothing to do.\"}",
	"{\"authorized\":false,\"authn_id\":null,\"reason\":\"expired\",\"stage\":\"claims\",\"fault\":\"client\","
	"\"message\":\"caf\xC3\xA9 \\ud83d\\ude00 \\n \\u0041\",\"remedy\":\"\",\"new\":[1,-2.5e3,{\"a\":[true,null]}]}",
	" { \"reason\" : \"a\" , \"message\" : \"\" , \"authorized\" : false } ",
};

/* what parsers trip over, put in at random places */
static const char *const fragments[] = {
	"\r\n", "\n", "\r\n\r\n", ":", "\"", "\\", "\\u", "\\ud83d", "\\u0000", "{", "}", "[", "]", ",",
	"\"authorized\":true", "\"authn_id\":\"", "null", "true", "0", "1e9", "\xC0\x80", "\xED\xA0\x80",
	"\xF4\x90\x80\x80", "\xE2\x80\xAE", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n",
	"HTTP/1.1 503 X\r\n", "99999999999999999999", "-1", " ", "\t", "\x7F",
};

static uint64_t random_state;

/* xorshift64: all that is asked of it is the same sequence on every machine */
static uint32_t
random_below(uint32_t bound)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t) (random_state >> 32) % bound;
}

static size_t
insert_fragment(char *buffer, size_t size)
{
	const char *fragment = fragments[random_below(sizeof(fragments) / sizeof(fragments[0]))];
	size_t		length = strlen(fragment);
	size_t		at = random_below((uint32_t) size + 1);

	if (size + length > MAX_INPUT)
		return size;
	memmove(buffer + at + length, buffer + at, size - at);
	memcpy(buffer + at, fragment, length);
	return size + length;
}

static size_t
mutate(char *buffer, size_t size)
{
	size_t		at = size > 0 ? random_below((uint32_t) size) : 0;

	if (size == 0)
		return insert_fragment(buffer, size);
	switch (random_below(5))
	{
		case 0:
			buffer[at] ^= (char) (1 << random_below(8));
			return size;
		case 1:
			buffer[at] = (char) random_below(256);
			return size;
		case 2:
			memmove(buffer + at, buffer + at + 1, size - at - 1);
			return size - 1;
		case 3:
			return random_below(8) > 0 ? size : at;
		default:
			return insert_fragment(buffer, size);
	}
}

static size_t
mutate_often(char *buffer, size_t size)
{
	for (uint32_t mutations = random_below(8); mutations > 0; mutations--)
		size = mutate(buffer, size);
	return size;
}

/*
 * Makes a reply: a body, mutated or not, behind a head that fits it; then,
 * half of the time, the whole is mutated once more.  Mutating the body first
 * gets past the check of its length.
 */
static size_t
make_reply(char *buffer)
{
	static char body[MAX_INPUT];
	const char *good = bodies[random_below(sizeof(bodies) / sizeof(bodies[0]))];
	size_t		body_size = strlen(good);
	int			head_size;

	memcpy(body, good, body_size);
	body_size = mutate_often(body, body_size);
	head_size = snprintf(buffer, MAX_INPUT,
						 "HTTP/1.1 %d OK\r\nContent-Type: application/json\r\n"
						 "Content-Length: %zu\r\nConnection: close\r\n\r\n",
						 random_below(4) > 0 ? 200 : 503, body_size);
	memcpy(buffer + head_size, body, body_size);
	if (random_below(2) == 0)
		return (size_t) head_size + body_size;
	return mutate_often(buffer, (size_t) head_size + body_size);
}

/*
 * Usage: fuzz_wire [ROUNDS [SEED]]
 */
int
main(int argc, char **argv)
{
	unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
	static char buffer[MAX_INPUT];

	random_state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	if (random_state == 0)
		random_state = 1;		/* the one seed from which xorshift never leaves */
	for (unsigned long i = 0; i < rounds; i++)
	{
		size_t		size = make_reply(buffer);

		LLVMFuzzerTestOneInput((const uint8_t *) buffer, size);
	}
	printf("%lu rounds\n", rounds);
	return EXIT_SUCCESS;
}

#endif							/* FUZZ_STANDALONE */
