/*-------------------------------------------------------------------------
 *
 * wirejson.h
 *	  The little JSON that the callout protocol needs: strings out, one
 *	  object in.
 *
 * It includes no PostgreSQL header, allocates nothing, and never reads or
 * writes past the bounds it is handed.
 *
 * shim/wirejson.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef PGOAUTHD_WIREJSON_H
#define PGOAUTHD_WIREJSON_H

#include <stdbool.h>
#include <stddef.h>

/* Deepest nesting of members that are skipped; deeper is refused. */
#define WIREJSON_MAX_DEPTH 16

/*
 * Output that counts: `length` is what the whole text needs, and bytes are
 * stored only as long as they fit.  With size 0 it measures.
 */
typedef struct WireText
{
	char	   *buffer;
	size_t		size;
	size_t		length;
} WireText;

/* Where a reader stands in a text of known end. */
typedef struct WireCursor
{
	const char *at;
	const char *end;
} WireCursor;

/*
 * A string as it was read: whole characters of valid UTF-8, with a NUL at the
 * end.  Control characters stand as '?', so that no reader of a log takes
 * them for the start of an entry.
 */
typedef struct WireString
{
	char	   *buffer;			/* given by the caller, `size` bytes */
	size_t		size;			/* 0: check and skip the string */
	bool		cut;			/* did not fit and ends early */
	bool		had_controls;	/* held control or bidirectional characters */
} WireString;

/* Whether all of a string is valid UTF-8 (RFC 3629), as it is passed on then. */
extern bool wirejson_is_utf8(const char *value);

/* Writing. */
extern void wirejson_put(WireText *text, const char *literal);
extern void wirejson_put_string(WireText *text, const char *value);
extern void wirejson_put_int(WireText *text, long value);

/* Reading; each is false where the text is not the JSON (RFC 8259) asked for. */
extern void wirejson_skip_space(WireCursor *cursor);
extern bool wirejson_take(WireCursor *cursor, char expected);
extern bool wirejson_take_word(WireCursor *cursor, const char *word);
extern bool wirejson_read_string(WireCursor *cursor, WireString *string);
extern bool wirejson_read_bool(WireCursor *cursor, bool *value);
extern bool wirejson_skip_value(WireCursor *cursor, int depth);

#endif							/* PGOAUTHD_WIREJSON_H */
