"""Notifications reach a real receiver, and what fails never says where it was sent."""

from __future__ import annotations

import logging
import traceback
from email import message_from_string
from email.header import decode_header, make_header

import pytest

from setpoint.adapters.notify import quiet, send
from setpoint.errors import NotificationError
from tests.adapters.receivers import SECRET, mail_server, webhook

TITLE, BODY = "cards-1 is open: drift, high", "amount moved higher <PSI 0.41> & more\nsecond line ü"


def test_a_webhook_gets_title_and_text_as_they_are() -> None:
    with webhook() as hook:
        send("team", hook.url, TITLE, BODY)
        [body] = hook.bodies
    assert (body["title"], body["message"]) == (TITLE, BODY)
    assert hook.paths == [f"/{SECRET}"]


def test_a_mail_server_gets_title_and_text_for_every_recipient() -> None:
    with mail_server() as (port, taken):
        to = "ada@example.org,bob@example.org"
        address = f"mailto://127.0.0.1:{port}?mode=insecure&from=loop@example.org&to={to}"
        send("mail", address, TITLE, BODY)
    mails = [message_from_string(one) for one in taken]
    assert sorted(str(mail["To"]) for mail in mails) == ["ada@example.org", "bob@example.org"]
    for mail in mails:
        assert str(make_header(decode_header(mail["Subject"]))) == TITLE
        parts = [p for p in mail.walk() if p.get_content_maintype() == "text"]
        plain = parts[0].get_payload(decode=True)
        assert isinstance(plain, bytes) and "second line ü" in plain.decode("utf-8")


def _refused(url: str) -> NotificationError:
    with pytest.raises(NotificationError, match=r"notify\.channels\.team") as caught:
        send("team", url, TITLE, BODY)
    return caught.value


@pytest.mark.parametrize("status", [404, 500])
def test_what_a_receiver_refuses_is_an_error_without_the_address(
    status: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "apprise")
    with webhook() as hook:
        hook.status = status
        error = _refused(hook.url)
    said = "".join(traceback.format_exception(error)) + caplog.text + "".join(capfd.readouterr())
    assert "did not take" in said and SECRET not in said


@pytest.mark.parametrize(
    "url",
    [f"json://127.0.0.1:1/{SECRET}", f"nothing-known://{SECRET}", SECRET, f"json://:{SECRET}", "?"],
)
def test_a_wrong_address_is_an_error_that_does_not_quote_it(
    url: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "apprise")
    said = "".join(traceback.format_exception(_refused(url)))
    assert SECRET not in said + caplog.text + "".join(capfd.readouterr())


def test_others_are_heard_again_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    with quiet():
        logging.getLogger("apprise").warning("a part of an address")
    logging.getLogger("apprise").warning("something else")
    assert caplog.messages == ["something else"]
