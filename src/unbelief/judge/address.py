"""Where a judge is asked, with which key, and whether records may leave this machine for it."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from pydantic import SecretStr

from unbelief.errors import RequestError

URL_VARIABLE = "UNBELIEF_JUDGE_URL"
KEY_VARIABLE = "UNBELIEF_JUDGE_KEY"


def from_environment(url: str | None = None) -> tuple[str, SecretStr | None]:
    """Base URL and key, from UNBELIEF_JUDGE_URL and UNBELIEF_JUDGE_KEY.

    Args:
        url: Beats the environment.

    Raises:
        RequestError: There is no URL, or the key cannot be sent in a header.
    """
    address = url or os.environ.get(URL_VARIABLE, "").strip()
    if not address:
        raise RequestError(
            "the judge's address is missing",
            where=URL_VARIABLE,
            remedy=f"set {URL_VARIABLE}, for example to http://localhost:8000/v1",
        )
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise RequestError(
            "the key has characters that no header can hold", where=KEY_VARIABLE, remedy="mend it"
        )
    return address, SecretStr(key) if key else None


def is_local(url: str) -> bool:
    """Whether a URL is of this very machine."""
    host = (urlsplit(url).hostname or "").lower()
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def check_url(url: str, allow_remote: bool) -> None:
    """Refuse an address that is not a plain URL, or that is not to be sent records.

    Raises:
        RequestError: It holds credentials, a query or the like; or it is another machine's and
            that was not allowed.
    """
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.username or parts.password or parts.query or parts.fragment:
        raise RequestError(  # without quoting it: it may hold a password
            "the judge's address is not a plain http or https URL",
            where=URL_VARIABLE,
            remedy=f"write it like http://localhost:8000/v1; a key goes into {KEY_VARIABLE}",
        )
    if not allow_remote and not is_local(url):
        raise RequestError(
            f"{parts.hostname} is another machine, and would be sent the records to be forgotten",
            where=URL_VARIABLE,
            remedy="use a judge on this machine, or allow it with --allow-remote",
        )
