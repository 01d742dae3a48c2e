/*-------------------------------------------------------------------------
 *
 * pgoauthd.c
 *	  OAuth validator module that asks pgoauthd about each token.
 *
 * PostgreSQL hands over a token and a role; this module sends both, with what
 * the server knows of the login, to the daemon's Unix socket, and does what
 * the answer says.  It judges nothing itself.  Whatever is not a plain yes is
 * a refusal, logged once with its reason and what to do about it, and neither
 * the token nor a piece of it is ever logged.
 *
 * shim/pgoauthd.c
 *
 *-------------------------------------------------------------------------
 */
#include "server.h"

#include <inttypes.h>

#include "exchange.h"
#include "fmgr.h"
#include "libpq/libpq-be.h"
#include "libpq/oauth.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "wire.h"
#include "wirejson.h"

PG_MODULE_MAGIC_EXT(.name = "pgoauthd", .version = PGOAUTHD_VERSION);

/*
 * The reasons for which the daemon has no say, as it was not heard.  Code,
 * sentence and remedy are those of the daemon's own vocabulary.
 */
typedef struct Failure
{
	const char *reason;
	const char *sentence;		/* without its full stop: a clause follows */
	const char *remedy;
} Failure;

static const Failure failures[] = {
	[EXCHANGE_UNAVAILABLE] = {
		"validator_unavailable",
		"The server could not reach pgoauthd on its socket",
		"Start pgoauthd, and check pgoauthd.socket_path and the socket's permissions.",
	},
	[EXCHANGE_TIMEOUT] = {
		"validator_timeout",
		"pgoauthd did not answer within pgoauthd.timeout",
		"Look at pgoauthd's validation latency and at the identity provider; raise pgoauthd.timeout if both are as expected.",
	},
	[EXCHANGE_PROTOCOL] = {
		"validator_protocol",
		"The answer on the socket was not one that the shim understands",
		"Check that pgoauthd listens on pgoauthd.socket_path and that shim and daemon are of matching versions.",
	},
};

/* GUC variables */
static char *socket_path = NULL;
static int	timeout_ms = 10000;

#if PG_VERSION_NUM >= 190000
static void register_options(ValidatorModuleState *state);
#endif
static const char *line_option(const ValidatorModuleState *state, const char *name);
static bool validate_token(const ValidatorModuleState *state, const char *token,
						   const char *role, ValidatorModuleResult *result);
static ExchangeResult ask_daemon(const char *path, const WireRequest *request,
								 WireReply *reply, char **problem);
static void describe_login(const ValidatorModuleState *state, WireRequest *request);
static int	client_port(const Port *port);
static bool accept_token(const WireReply *reply, ValidatorModuleResult *result);
static bool refuse_token(const WireReply *reply, ValidatorModuleResult *result);
static bool refuse_unasked(const char *message, const char *remedy, ValidatorModuleResult *result);
static bool give_up(ExchangeResult why, const char *problem, ValidatorModuleResult *result);
static void log_refusal(const char *reason, const char *message, const char *remedy,
						ValidatorModuleResult *result);

/*
 * The module is loaded for discovery attempts too, which carry no token, so
 * all work waits for one: at startup it only says which options it knows.
 */
static const OAuthValidatorCallbacks validator_callbacks = {
	.magic = PG_OAUTH_VALIDATOR_MAGIC,
#if PG_VERSION_NUM >= 190000
	.startup_cb = register_options,
#endif
	.validate_cb = validate_token,
};

void
_PG_init(void)
{
	DefineCustomStringVariable("pgoauthd.socket_path",
							   "Unix socket on which pgoauthd validates tokens.",
							   NULL,
							   &socket_path,
							   "/run/pgoauthd/pgoauthd.sock",
							   PGC_SIGHUP,
							   0,
							   NULL, NULL, NULL);

	DefineCustomIntVariable("pgoauthd.timeout",
							"Longest time to wait for the verdict of pgoauthd.",
							"Connecting, asking and answering together; keep it below authentication_timeout.",
							&timeout_ms,
							10000,
							10, 60000,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	MarkGUCPrefixReserved("pgoauthd");
}

const OAuthValidatorCallbacks *
_PG_oauth_validator_module_init(void)
{
	return &validator_callbacks;
}

#if PG_VERSION_NUM >= 190000
/*
 * Options of a line of pg_hba.conf, validator.NAME="VALUE" there.  The server
 * refuses all logins on a line with an option that is not registered.
 */
static void
register_options(ValidatorModuleState *state)
{
	static const char *names[] = {"socket", "audience"};

	RegisterOAuthHBAOptions(state, lengthof(names), names);
}
#endif

/*
 * An option of the login's line of pg_hba.conf; NULL where it has none, as
 * always before PostgreSQL 19.
 */
static const char *
line_option(const ValidatorModuleState *state, const char *name)
{
#if PG_VERSION_NUM >= 190000
	return GetOAuthHBAOption(state, name);
#else
	(void) state;
	(void) name;
	return NULL;
#endif
}

/*
 * Validates one token.  True with a verdict, whichever; false, the server's
 * "internal error", where there was nobody to give one.
 */
static bool
validate_token(const ValidatorModuleState *state, const char *token, const char *role,
			   ValidatorModuleResult *result)
{
	WireRequest request = {.token = token, .role = role};
	WireReply	reply;
	const char *own_socket = line_option(state, "socket");
	char	   *problem = NULL;
	ExchangeResult outcome;

	request.audience = line_option(state, "audience");
	if (!wirejson_is_utf8(role))
		return refuse_unasked("The role of the login is not valid UTF-8, so pgoauthd was not asked.",
							  "Log in as a role whose name is valid UTF-8.", result);
	if (request.audience != NULL &&
		(request.audience[0] == '\0' || !wirejson_is_utf8(request.audience)))
		return refuse_unasked("validator.audience is empty or not valid UTF-8, so pgoauthd was not asked.",
							  "Correct validator.audience in pg_hba.conf.", result);

	describe_login(state, &request);
	outcome = ask_daemon(own_socket != NULL ? own_socket : socket_path, &request, &reply, &problem);
	if (outcome != EXCHANGE_ANSWERED)
		return give_up(outcome, problem, result);
	if (!reply.authorized)
		return refuse_token(&reply, result);

	/* An identity may be missing only where no map is there to judge it. */
	if (!reply.has_authn_id && !request.delegate)
		return give_up(EXCHANGE_PROTOCOL, "it authorizes without an authn_id", result);
	return accept_token(&reply, result);
}

/*
 * Sends the request and wipes it: it is the only copy of the token made here.
 */
static ExchangeResult
ask_daemon(const char *path, const WireRequest *request, WireReply *reply, char **problem)
{
	size_t		size = wire_build_request(request, NULL, 0);
	char	   *text = palloc(size);
	volatile ExchangeResult outcome = EXCHANGE_UNAVAILABLE;

	wire_build_request(request, text, size);
	PG_TRY();
	{
		outcome = exchange(path, timeout_ms, text, size, reply, problem);
	}
	PG_FINALLY();
	{
		explicit_bzero(text, size);
	}
	PG_END_TRY();

	pfree(text);
	return outcome;
}

/*
 * What the server knows of this login.  The session id is written as %c of
 * log_line_prefix is, so that verdict and log lines find each other.
 */
static void
describe_login(const ValidatorModuleState *state, WireRequest *request)
{
	const Port *port = MyProcPort;
	const HbaLine *hba = port->hba;

	request->database = port->database_name;
	request->client_addr = port->raddr.addr.ss_family == AF_UNIX ? "[local]" : port->remote_host;
	request->client_port = client_port(port);
	request->session_id = psprintf("%" PRIx64 ".%x", (uint64) MyStartTime, (unsigned int) MyProcPid);
	request->pid = MyProcPid;
	request->hba_file = hba->sourcefile;
	request->hba_line = hba->linenumber;
	request->issuer = hba->oauth_issuer;
	request->scope = hba->oauth_scope;
	request->usermap = hba->usermap;
	request->delegate = hba->oauth_skip_usermap;
	request->server_version = state->sversion;
	request->cluster_name = cluster_name[0] != '\0' ? cluster_name : NULL;
}

/*
 * The client's TCP port, 0 for none: on a Unix socket the field holds a path.
 */
static int
client_port(const Port *port)
{
	if (port->raddr.addr.ss_family == AF_UNIX || port->remote_port == NULL)
		return 0;
	return atoi(port->remote_port);
}

static bool
accept_token(const WireReply *reply, ValidatorModuleResult *result)
{
	result->authorized = true;
	if (reply->has_authn_id)
		result->authn_id = pstrdup(reply->authn_id);
	return true;
}

/*
 * A refusal keeps the identity that the daemon verified, so that the server's
 * log says who it was.
 */
static bool
refuse_token(const WireReply *reply, ValidatorModuleResult *result)
{
	result->authorized = false;
	if (reply->has_authn_id)
		result->authn_id = pstrdup(reply->authn_id);
	log_refusal(reply->reason, reply->message, reply->remedy, result);
	return true;
}

/*
 * A request is JSON, where each byte that is not UTF-8 becomes U+FFFD: two
 * roles, or two audiences, would look alike to the daemon, which may vouch
 * for one of them.
 */
static bool
refuse_unasked(const char *message, const char *remedy, ValidatorModuleResult *result)
{
	result->authorized = false;
	log_refusal("request_invalid", message, remedy, result);
	return true;
}

static bool
give_up(ExchangeResult why, const char *problem, ValidatorModuleResult *result)
{
	const Failure *failure = &failures[why];

	log_refusal(failure->reason, psprintf("%s: %s.", failure->sentence, problem),
				failure->remedy, result);
	return false;
}

/*
 * Says why, to the server's log only: the client learns that it was refused,
 * never why.  From PostgreSQL 19 on the server has a place for it, the DETAIL
 * of the one entry that it writes itself; before, it is an entry of ours (at
 * COMMERROR, as in the server's own code).
 */
static void
log_refusal(const char *reason, const char *message, const char *remedy,
			ValidatorModuleResult *result)
{
	char	   *entry = psprintf("pgoauthd: refused [%s]: %s", reason, message);

#if PG_VERSION_NUM >= 190000
	result->error_detail = remedy[0] != '\0' ? psprintf("%s\n%s", entry, remedy) : entry;
#else
	(void) result;
	ereport(COMMERROR,
			errmsg_internal("%s", entry),
			remedy[0] != '\0' ? errhint("%s", remedy) : 0);
#endif
}
