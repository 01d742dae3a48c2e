"""The validation of tokens as one configuration wants it, and its hand-over to the next; never judges a token."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

from pgoauthd.config.values import Config
from pgoauthd.correlation.verdicts import SessionVerdict
from pgoauthd.runtime.background import stop
from pgoauthd.runtime.callout import Callout
from pgoauthd.runtime.idp.introspector import Introspectors
from pgoauthd.runtime.idp.keystore import KeyStore
from pgoauthd.runtime.listener import Listener, inherited_listener, open_listener
from pgoauthd.runtime.peer import AllowedUsers, look_up_users
from pgoauthd.runtime.systemd import inherited_sockets
from pgoauthd.runtime.validation import Validator, most_waiting
from pgoauthd.site import Site


class Generation:
    """What is built from the issuers of one configuration: keys, introspection, users, and the judge of tokens."""

    def __init__(self, config: Config, site: Site, known: KeyStore | None) -> None:
        """Read the files that the configuration names; ConfigError where one cannot be used.

        `known`: the keys of the generation before, which are gone on with.
        """
        metrics, log, clock = site.metrics, site.log, site.clock
        self.config = config
        self.users = look_up_users(config.callout.allowed_users)
        self.keys = KeyStore(config.issuers, metrics=metrics, log=log, clock=clock, previous=known)
        introspectors = Introspectors(config.issuers, keys=self.keys, metrics=metrics, log=log, clock=clock)
        self.validator = Validator(
            tuple(issuer.policy for issuer in config.issuers),
            self.keys,
            introspection=introspectors,
            max_token_bytes=config.callout.max_token_bytes,
            max_waiting=most_waiting(config.callout.max_connections, len(config.issuers)),
            metrics=metrics,
            clock=clock,
        )
        self.listener: Listener | None = None
        """The socket, where this is the first generation."""
        self._parts = (self.keys, introspectors)
        self._open = AsyncExitStack()
        self._site = site

    async def open(self) -> None:
        """Make ready to serve, with the keys of the generation before, which serves on."""
        for part in self._parts:
            await self._open.enter_async_context(part)

    def serve(self) -> None:
        """Keep the keys fresh, and show how things stand with the issuers, from now on."""
        for name in self.users.unknown:
            self._site.log.warning("no_such_user", user=name, remedy="correct callout.allowed_users")
        self._open.push_async_callback(stop, self._site.background.start(self.keys.run))

    def hide(self) -> None:
        """Show no more how things stand with the issuers: the generation that serves does."""
        for part in self._parts:
            part.hide()

    async def close(self) -> None:
        """Let go of connections and tasks; nobody may wait for a verdict any more."""
        await self._open.aclose()


class Validating:
    """The validation socket, open from the first issuer on, and the generation that answers there."""

    def __init__(self, site: Site, on_verdict: Callable[[SessionVerdict], None]) -> None:
        self._site = site
        self._on_verdict = on_verdict
        self._callout: Callout | None = None
        self._serving: Generation | None = None
        self._unclosed: set[Generation] = set()
        """The one that serves, those that requests still wait for, and one that was built and is not used yet."""
        self._open = AsyncExitStack()

    async def build(self, config: Config) -> Generation:
        """The generation of a configuration, ready to be used; PgoauthdError or OSError, and nothing is changed."""
        async with AsyncExitStack() as undo:
            undo.callback(self._forget, config)
            generation = await self._read(config)
            undo.push_async_callback(generation.close)
            await generation.open()
            if self._callout is None:
                generation.listener = self._open.enter_context(_listener(config, generation.users))
            self._unclosed.add(generation)
            undo.pop_all()
        return generation

    async def use(self, generation: Generation) -> None:
        """Judge by this generation from now on. The one before is closed when nobody waits for its verdict any more."""
        before, self._serving = self._serving, generation
        if before is not None:
            before.hide()
        generation.serve()
        if before is None or self._callout is None:
            await self._begin(generation)
            return
        over = self._callout.use(generation.config.callout, generation.validator, generation.users)
        self._site.background.start_once(partial(self._retire, before, over))
        if generation.users.group != before.users.group:
            remedy = "restart, or give the socket to the group of the first of callout.allowed_users"
            self._site.log.warning("socket_group_kept", remedy=remedy)

    @property
    def serves(self) -> bool:
        """There is, or was, an issuer: without one, all tokens are refused."""
        return self._serving is not None

    def refresh_keys(self) -> None:
        """Have all keys fetched soon."""
        if self._serving is not None:
            self._serving.keys.refresh_soon()

    async def close(self) -> None:
        """Accept nothing more, let the requests that run end, and close what served them."""
        await self._open.aclose()
        for generation in tuple(self._unclosed):
            await self._close(generation)

    async def _read(self, config: Config) -> Generation:
        """Files are read and users looked up, and where somebody serves, no login waits for that."""
        if self._serving is None:
            return Generation(config, self._site, None)
        return await asyncio.to_thread(Generation, config, self._site, self._serving.keys)

    async def _begin(self, generation: Generation) -> None:
        """Accept the first connection."""
        if generation.listener is None:
            raise RuntimeError("the first generation is built with a socket")
        self._callout = callout = Callout(
            generation.config.callout,
            generation.validator,
            users=generation.users,
            on_verdict=self._on_verdict,
            metrics=self._site.metrics,
            log=self._site.log,
            clock=self._site.clock,
        )
        self._open.push_async_callback(callout.stop)
        await callout.start(generation.listener)

    async def _retire(self, before: Generation, over: Callable[[], Awaitable[None]]) -> None:
        """Close a generation when its last request has ended, at the latest at the end of the daemon."""
        try:
            await over()
        finally:
            await self._close(before)
            self._forget(before.config)

    async def _close(self, generation: Generation) -> None:
        self._unclosed.discard(generation)
        await generation.close()

    def _forget(self, config: Config) -> None:
        """Show no more how things stand with issuers that are gone."""
        serving = self._serving.config.issuers if self._serving is not None else ()
        gone = {issuer.label for issuer in config.issuers} - {issuer.label for issuer in serving}
        self._site.metrics.forget(issuers=gone)


def _listener(config: Config, users: AllowedUsers) -> Listener:
    """Systemd's socket, or one of our own."""
    return inherited_listener(inherited_sockets(os.environ)) or open_listener(config.callout.socket, group=users.group)
