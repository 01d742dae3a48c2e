/*-------------------------------------------------------------------------
 *
 * wirejson.c
 *	  The little JSON that the callout protocol needs: strings out, one
 *	  object in.
 *
 * Whatever bytes come in, what is written is valid JSON in valid UTF-8.  What
 * is read must be exactly that (RFC 8259, RFC 3629), and more strictly so than
 * most parsers: no NUL, no lone surrogate, no overlong form, bounded depth.
 *
 * shim/wirejson.c
 *
 *-------------------------------------------------------------------------
 */
#include "wirejson.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define REPLACEMENT "\xEF\xBF\xBD"	/* U+FFFD in UTF-8 */
#define MAX_UTF8_LENGTH 4

static void put_bytes(WireText *text, const char *bytes, size_t length);
static size_t put_escaped(WireText *text, const char *at, size_t left);
static size_t decode_utf8(const char *bytes, size_t left, uint32_t *code);
static size_t encode_utf8(uint32_t code, char *out);
static bool is_control(uint32_t code);
static bool read_character(WireCursor *cursor, uint32_t *code);
static bool read_escape(WireCursor *cursor, uint32_t *code);
static bool read_hex4(WireCursor *cursor, uint32_t *unit);
static bool skip_number(WireCursor *cursor);
static bool skip_digits(WireCursor *cursor);
static bool skip_array(WireCursor *cursor, int depth);
static bool skip_object(WireCursor *cursor, int depth);

/*
 * Appends text that needs no escaping.
 */
void
wirejson_put(WireText *text, const char *literal)
{
	put_bytes(text, literal, strlen(literal));
}

bool
wirejson_is_utf8(const char *value)
{
	size_t		left = strlen(value);
	size_t		length;
	uint32_t	code;

	for (; left > 0; value += length, left -= length)
	{
		length = decode_utf8(value, left, &code);
		if (length == 0)
			return false;
	}
	return true;
}

/*
 * Appends a value: a string in quotes, or null where there is none.  A byte
 * that is not part of valid UTF-8 becomes U+FFFD.
 */
void
wirejson_put_string(WireText *text, const char *value)
{
	size_t		left;

	if (value == NULL)
	{
		wirejson_put(text, "null");
		return;
	}

	wirejson_put(text, "\"");
	for (left = strlen(value); left > 0;)
	{
		size_t		taken = put_escaped(text, value, left);

		value += taken;
		left -= taken;
	}
	wirejson_put(text, "\"");
}

void
wirejson_put_int(WireText *text, long value)
{
	char		digits[32];

	snprintf(digits, sizeof(digits), "%ld", value);
	wirejson_put(text, digits);
}

static void
put_bytes(WireText *text, const char *bytes, size_t length)
{
	if (text->length <= text->size && length <= text->size - text->length)
		memcpy(text->buffer + text->length, bytes, length);
	text->length += length;
}

/*
 * Appends the character at `at`, and says how many of the `left` bytes it was.
 */
static size_t
put_escaped(WireText *text, const char *at, size_t left)
{
	uint32_t	code;
	size_t		length = decode_utf8(at, left, &code);
	char		escape[8];

	if (length == 0)
	{
		wirejson_put(text, REPLACEMENT);
		return 1;
	}

	if (code == '"' || code == '\\')
	{
		snprintf(escape, sizeof(escape), "\\%c", (int) code);
		wirejson_put(text, escape);
	}
	else if (code < 0x20)
	{
		snprintf(escape, sizeof(escape), "\\u%04x", (unsigned int) code);
		wirejson_put(text, escape);
	}
	else
		put_bytes(text, at, length);
	return length;
}

/*
 * The length of the character at `bytes`, or 0 where RFC 3629 knows none:
 * truncated, overlong, a surrogate, or beyond U+10FFFF.
 */
static size_t
decode_utf8(const char *bytes, size_t left, uint32_t *code)
{
	const unsigned char *b = (const unsigned char *) bytes;
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t		length;

	if (b[0] < 0x80)
	{
		*code = b[0];
		return 1;
	}

	if ((b[0] & 0xE0) == 0xC0)
		length = 2;
	else if ((b[0] & 0xF0) == 0xE0)
		length = 3;
	else if ((b[0] & 0xF8) == 0xF0)
		length = 4;
	else
		return 0;
	if (length > left)
		return 0;

	*code = b[0] & (0xFF >> (length + 1));
	for (size_t i = 1; i < length; i++)
	{
		if ((b[i] & 0xC0) != 0x80)
			return 0;
		*code = (*code << 6) | (b[i] & 0x3F);
	}
	if (*code < smallest[length] || *code > 0x10FFFF || (*code >= 0xD800 && *code <= 0xDFFF))
		return 0;
	return length;
}

static size_t
encode_utf8(uint32_t code, char *out)
{
	if (code < 0x80)
	{
		out[0] = (char) code;
		return 1;
	}
	if (code < 0x800)
	{
		out[0] = (char) (0xC0 | (code >> 6));
		out[1] = (char) (0x80 | (code & 0x3F));
		return 2;
	}
	if (code < 0x10000)
	{
		out[0] = (char) (0xE0 | (code >> 12));
		out[1] = (char) (0x80 | ((code >> 6) & 0x3F));
		out[2] = (char) (0x80 | (code & 0x3F));
		return 3;
	}
	out[0] = (char) (0xF0 | (code >> 18));
	out[1] = (char) (0x80 | ((code >> 12) & 0x3F));
	out[2] = (char) (0x80 | ((code >> 6) & 0x3F));
	out[3] = (char) (0x80 | (code & 0x3F));
	return 4;
}

/*
 * Characters that could make one log entry look like two, or read backwards:
 * C0, DEL, C1, the line and paragraph separators and the bidirectional
 * formatting characters (Unicode Bidi_Control).
 */
static bool
is_control(uint32_t code)
{
	return code < 0x20 || (code >= 0x7F && code <= 0x9F) ||
		code == 0x061C || code == 0x200E || code == 0x200F ||
		(code >= 0x2028 && code <= 0x202E) ||
		(code >= 0x2066 && code <= 0x2069);
}

void
wirejson_skip_space(WireCursor *cursor)
{
	while (cursor->at < cursor->end && memchr(" \t\r\n", *cursor->at, 4) != NULL)
		cursor->at++;
}

/*
 * Steps over one expected character.
 */
bool
wirejson_take(WireCursor *cursor, char expected)
{
	if (cursor->at == cursor->end || *cursor->at != expected)
		return false;
	cursor->at++;
	return true;
}

/*
 * Steps over an expected word, such as null.
 */
bool
wirejson_take_word(WireCursor *cursor, const char *word)
{
	size_t		length = strlen(word);

	if ((size_t) (cursor->end - cursor->at) < length || memcmp(cursor->at, word, length) != 0)
		return false;
	cursor->at += length;
	return true;
}

bool
wirejson_read_bool(WireCursor *cursor, bool *value)
{
	*value = wirejson_take_word(cursor, "true");
	return *value || wirejson_take_word(cursor, "false");
}

/*
 * Reads a string into its buffer; the whole of it is checked even where only
 * a part fits.
 */
bool
wirejson_read_string(WireCursor *cursor, WireString *string)
{
	size_t		used = 0;

	string->cut = false;
	string->had_controls = false;
	if (!wirejson_take(cursor, '"'))
		return false;

	while (!wirejson_take(cursor, '"'))
	{
		uint32_t	code;
		char		encoded[MAX_UTF8_LENGTH];
		size_t		length;

		if (!read_character(cursor, &code))
			return false;
		if (is_control(code))
		{
			string->had_controls = true;
			code = '?';
		}

		/* Once cut, always cut: a later, shorter character must not follow. */
		length = encode_utf8(code, encoded);
		if (string->cut || used + length >= string->size)
		{
			string->cut = true;
			continue;
		}
		memcpy(string->buffer + used, encoded, length);
		used += length;
	}

	if (string->size > 0)
		string->buffer[used] = '\0';
	return true;
}

/*
 * Reads one character of a string, never NUL: in C it would end the string
 * early, and the rest of it would go unjudged.
 */
static bool
read_character(WireCursor *cursor, uint32_t *code)
{
	size_t		length;

	if (cursor->at == cursor->end)
		return false;
	if (wirejson_take(cursor, '\\'))
		return read_escape(cursor, code) && *code != 0;

	length = decode_utf8(cursor->at, (size_t) (cursor->end - cursor->at), code);
	if (length == 0 || *code < 0x20)
		return false;
	cursor->at += length;
	return true;
}

/*
 * Reads what follows a backslash; surrogates only as a pair, high before low.
 */
static bool
read_escape(WireCursor *cursor, uint32_t *code)
{
	static const char named[] = "\"\\/bfnrt";
	static const char meaning[] = "\"\\/\b\f\n\r\t";
	const char *found;
	uint32_t	low;

	if (cursor->at == cursor->end)
		return false;
	if (!wirejson_take(cursor, 'u'))
	{
		found = memchr(named, *cursor->at, sizeof(named) - 1);
		if (found == NULL)
			return false;
		*code = (uint32_t) meaning[found - named];
		cursor->at++;
		return true;
	}

	if (!read_hex4(cursor, code))
		return false;
	if (*code < 0xD800 || *code > 0xDFFF)
		return true;
	if (*code > 0xDBFF || !wirejson_take(cursor, '\\') || !wirejson_take(cursor, 'u') ||
		!read_hex4(cursor, &low) || low < 0xDC00 || low > 0xDFFF)
		return false;
	*code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
	return true;
}

static bool
read_hex4(WireCursor *cursor, uint32_t *unit)
{
	*unit = 0;
	for (int i = 0; i < 4; i++)
	{
		char		c;

		if (cursor->at == cursor->end)
			return false;
		c = *cursor->at++;
		if (c >= '0' && c <= '9')
			*unit = (*unit << 4) | (uint32_t) (c - '0');
		else if (c >= 'a' && c <= 'f')
			*unit = (*unit << 4) | (uint32_t) (c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			*unit = (*unit << 4) | (uint32_t) (c - 'A' + 10);
		else
			return false;
	}
	return true;
}

/*
 * Steps over a value of any type, `depth` levels below the outermost object.
 */
bool
wirejson_skip_value(WireCursor *cursor, int depth)
{
	WireString	ignored = {0};
	bool		flag;

	if (cursor->at == cursor->end || depth > WIREJSON_MAX_DEPTH)
		return false;
	switch (*cursor->at)
	{
		case '"':
			return wirejson_read_string(cursor, &ignored);
		case '{':
			return skip_object(cursor, depth);
		case '[':
			return skip_array(cursor, depth);
		case 'n':
			return wirejson_take_word(cursor, "null");
		case 't':
		case 'f':
			return wirejson_read_bool(cursor, &flag);
		default:
			return skip_number(cursor);
	}
}

/*
 * Steps over a number in exactly the grammar of RFC 8259 section 6.
 */
static bool
skip_number(WireCursor *cursor)
{
	(void) wirejson_take(cursor, '-');
	if (!wirejson_take(cursor, '0') && !skip_digits(cursor))
		return false;
	if (wirejson_take(cursor, '.') && !skip_digits(cursor))
		return false;
	if (wirejson_take(cursor, 'e') || wirejson_take(cursor, 'E'))
	{
		if (!wirejson_take(cursor, '+'))
			(void) wirejson_take(cursor, '-');
		return skip_digits(cursor);
	}
	return true;
}

static bool
skip_digits(WireCursor *cursor)
{
	const char *start = cursor->at;

	while (cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9')
		cursor->at++;
	return cursor->at > start;
}

static bool
skip_array(WireCursor *cursor, int depth)
{
	if (!wirejson_take(cursor, '['))
		return false;
	wirejson_skip_space(cursor);
	if (wirejson_take(cursor, ']'))
		return true;

	do
	{
		wirejson_skip_space(cursor);
		if (!wirejson_skip_value(cursor, depth + 1))
			return false;
		wirejson_skip_space(cursor);
	} while (wirejson_take(cursor, ','));
	return wirejson_take(cursor, ']');
}

static bool
skip_object(WireCursor *cursor, int depth)
{
	if (!wirejson_take(cursor, '{'))
		return false;
	wirejson_skip_space(cursor);
	if (wirejson_take(cursor, '}'))
		return true;

	do
	{
		WireString	ignored = {0};

		wirejson_skip_space(cursor);
		if (!wirejson_read_string(cursor, &ignored))
			return false;
		wirejson_skip_space(cursor);
		if (!wirejson_take(cursor, ':'))
			return false;
		wirejson_skip_space(cursor);
		if (!wirejson_skip_value(cursor, depth + 1))
			return false;
		wirejson_skip_space(cursor);
	} while (wirejson_take(cursor, ','));
	return wirejson_take(cursor, '}');
}
