"""Reads the configuration again when it is told to or when it has changed, and has it used, or says why not.

It never touches a part of the daemon itself. A configuration that cannot be used changes nothing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from pgoauthd.config.change import describe_changes, files_named, fixed_keys_changed
from pgoauthd.config.reader import load
from pgoauthd.config.values import Config
from pgoauthd.errors import ConfigError, PgoauthdError
from pgoauthd.generation import InUse
from pgoauthd.runtime.idp.credentials import real_path
from pgoauthd.runtime.reloadwatch import POLL_SECONDS, ReloadWatch, look_at
from pgoauthd.runtime.systemd import Notifier
from pgoauthd.site import Site


class Reloader:
    """One a daemon that knows the file of its configuration."""

    def __init__(self, path: Path, config: Config, site: Site) -> None:
        """Look at the files that `config` comes from, before anything is built from them."""
        self._path = path
        self._site = site
        self._one_at_a_time = asyncio.Lock()
        self._known = look_at(self._files(config))
        """As of the last look: what is the same need not be tried again."""
        self._built_from = self._known
        self._try_again = not _loads_as(config, path)
        """It could not be read at the last look, or was not what the daemon had been started with."""

    async def obey(self, hangup: asyncio.Event, in_use: InUse, notifier: Notifier) -> None:
        """Reload whenever `hangup` is set, for ever."""
        while True:
            await hangup.wait()
            hangup.clear()
            await self._reload(in_use, notifier, told=True)

    async def watch(self, in_use: InUse, notifier: Notifier) -> None:
        """Reload when the files have changed, where that is wanted, for ever."""
        with ReloadWatch(self._site.clock) as watch:
            while True:
                if not in_use.config.reload.watch:
                    await self._site.clock.sleep(POLL_SECONDS)
                elif await watch.changed(self._known) or await self._has_become_readable():
                    await self._reload(in_use, notifier, told=False)

    async def _has_become_readable(self) -> bool:
        """What was missing has come: perhaps a file that the configuration names."""
        return self._try_again and await asyncio.to_thread(_loads, self._path)

    async def _reload(self, in_use: InUse, notifier: Notifier, *, told: bool) -> None:
        async with self._one_at_a_time:
            seen = await asyncio.to_thread(look_at, self._known)
            if not told and not self._try_again and seen == self._known:
                return  # it was read on a signal meanwhile
            self._known = seen
            notifier.reloading(self._site.clock.monotonic())
            outcome = await self._try(in_use)
            if told:
                in_use.refresh_keys()
            self._count(outcome)
            notifier.ready(in_use.status + "; the last reload was refused" * (outcome == "refused"))

    async def _try(self, in_use: InUse) -> str:
        """The boundary: whatever is wrong with a configuration, the daemon goes on."""
        try:
            changes = await self._use(in_use)
        except ConfigError as error:
            return self._refuse(tuple(map(str, error.problems)))
        except (PgoauthdError, OSError) as error:
            return self._refuse((str(error),))
        except Exception as error:
            self._site.log.exception("reload_failed_unforeseen")
            return self._refuse((f"unforeseen: {type(error).__name__}",))
        self._site.log.info("config_reloaded", changes=changes)
        return "applied" if changes else "unchanged"

    async def _use(self, in_use: InUse) -> tuple[str, ...]:
        """What has changed and is used now; ConfigError and others where it cannot be."""
        self._try_again = True
        config = await asyncio.to_thread(load, self._path)
        self._try_again = False
        files = self._files(config)
        self._known = self._known | await asyncio.to_thread(look_at, files - self._known.keys())
        if (problems := fixed_keys_changed(in_use.config, config)) != ():
            raise ConfigError(str(self._path), problems)
        renewed = self._renewed(files)
        changes = (*describe_changes(in_use.config, config), *(f"file {file} changed" for file in renewed))
        if changes:
            await in_use.use(config, files_changed=bool(renewed))
        self._known = self._built_from = {file: self._known[file] for file in files}
        return changes

    def _refuse(self, problems: tuple[str, ...]) -> str:
        remedy = "correct it; until then the configuration of before is used"
        self._site.log.error("config_refused", file=str(self._path), problems=problems, remedy=remedy)
        return "refused"

    def _count(self, outcome: str) -> None:
        metrics = self._site.metrics
        metrics.reloads.labels(outcome).inc()
        metrics.reload_successful.set(outcome != "refused")
        if outcome != "refused":
            metrics.reloaded.set(self._site.clock.time())

    def _renewed(self, files: frozenset[str]) -> list[str]:
        """The files that hold something else than what is in use, but for the configuration itself."""
        before = self._built_from
        others = files & before.keys() - {str(self._path)}
        return sorted(file for file in others if self._known[file] != before[file])

    def _files(self, config: Config) -> frozenset[str]:
        return frozenset({str(self._path), *(real_path(file, "configuration") for file in files_named(config))})


def _loads(path: Path) -> bool:
    try:
        load(path)
    except ConfigError:
        return False
    return True


def _loads_as(config: Config, path: Path) -> bool:
    try:
        return load(path) == config
    except ConfigError:
        return False
