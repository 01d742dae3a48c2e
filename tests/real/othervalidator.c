/*
 * A validator that says what those of others say, at the levels at which they
 * say it, through the server's own elog().  Which lines, and how it ends, is
 * chosen by the role: the table is made by the test (othervalidator_lines.h).
 */
#include "postgres.h"

#include "fmgr.h"
#include "libpq/oauth.h"

PG_MODULE_MAGIC;

typedef enum Ending
{
	FAILS,						/* returns false: an internal error */
	REFUSES,					/* says no, and who it would have been */
	REFUSES_NOBODY,				/* says no, and nothing else */
	ACCEPTS
} Ending;

typedef struct Line
{
	const char *role;
	int			level;
	const char *text;			/* may have one %s for the token */
	const char *detail;			/* or NULL */
	Ending		ending;
} Line;

static const Line lines[] = {
#include "othervalidator_lines.h"
};

static bool validate(const ValidatorModuleState *state, const char *token,
					 const char *role, ValidatorModuleResult *result);

static const OAuthValidatorCallbacks callbacks = {
	PG_OAUTH_VALIDATOR_MAGIC,
	.validate_cb = validate
};

extern PGDLLEXPORT const OAuthValidatorCallbacks *_PG_oauth_validator_module_init(void);

const OAuthValidatorCallbacks *
_PG_oauth_validator_module_init(void)
{
	return &callbacks;
}

static bool
validate(const ValidatorModuleState *state, const char *token,
		 const char *role, ValidatorModuleResult *result)
{
	Ending		ending = FAILS;

	for (size_t i = 0; i < lengthof(lines); i++)
	{
		const Line *line = &lines[i];
		const char *place;
		char	   *text;

		if (strcmp(line->role, role) != 0)
			continue;
		place = strstr(line->text, "%s");
		text = place == NULL ? pstrdup(line->text)
			: psprintf("%.*s%s%s", (int) (place - line->text), line->text, token, place + 2);
		ereport(line->level,
				(errmsg_internal("%s", text),
				 line->detail != NULL ? errdetail_internal("%s", line->detail) : 0));
		ending = line->ending;
	}
	result->authorized = ending == ACCEPTS;
	result->authn_id = ending == FAILS || ending == REFUSES_NOBODY ? NULL : pstrdup(role);
	return ending != FAILS;
}
