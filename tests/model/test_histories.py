"""Random histories of logins, files and crashes, against a model of what must come of them."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from tests.model import fix_actions
from tests.model.fix_actions import Action, Setting
from tests.model.fix_histories import play

EXAMPLES = 150


@given(setting=fix_actions.settings, actions=fix_actions.histories)
@settings(deadline=None, max_examples=EXAMPLES, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_every_login_gives_one_outcome_whatever_befalls_its_log_and_the_daemon(
    setting: Setting, actions: list[Action]
) -> None:
    play(setting, actions)
