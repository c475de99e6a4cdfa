"""What callbacks are signed with, where they may be sent on to, and when they are tried again."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.outward import callbacks
from spark_export.outward.addresses import AddressPolicy, OutwardFailed
from spark_export.outward.callbacks import CallbackFailed, Signer, delay_seconds, redirected, send
from spark_export.outward.http import Answer, Outward

# Of the specification's own libraries: libraries/python/tests/test_webhooks.py, test_sign_function.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

DAY_SECONDS = 86_400


def secret_of(key: bytes) -> str:
    """As an operator writes it."""
    return "whsec_" + base64.b64encode(key).decode()


def test_published_vector() -> None:
    """The signature is the one that the specification's own libraries make."""
    assert Signer.from_text(SECRET).headers(MESSAGE_ID, TIMESTAMP, BODY) == {
        "webhook-id": MESSAGE_ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNATURE,
    }


def test_two_secrets() -> None:
    """While one secret replaces another each message carries both signatures, in the secrets' order."""
    other = bytes(range(32))
    signatures = Signer.from_text(f"{secret_of(other)}, {SECRET}\n").headers(MESSAGE_ID, TIMESTAMP, BODY)
    signed = f"{MESSAGE_ID}.{TIMESTAMP}.".encode() + BODY
    first = "v1," + base64.b64encode(hmac.new(other, signed, hashlib.sha256).digest()).decode()
    assert signatures["webhook-signature"] == f"{first} {SIGNATURE}"


@given(st.binary(min_size=24, max_size=64), st.binary())
def test_any_key(key: bytes, body: bytes) -> None:
    """A key of 24 to 64 bytes signs the body byte for byte."""
    signature = Signer.from_text(secret_of(key)).headers("a", 1, body)["webhook-signature"]
    assert base64.b64decode(signature.removeprefix("v1,")) == hmac.new(key, b"a.1." + body, hashlib.sha256).digest()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSß",
        secret_of(b"MfKQ9r8GKYqrTwjUPD8ILPZ"),
        secret_of(b"MfKQ9r8GKYqrTwjUPD8ILPZ" * 3),
        f"{SECRET},",
        f"{SECRET},{SECRET},{SECRET}",
    ],
)
def test_bad_secrets(text: str) -> None:
    """What is no secret, or more than two, is refused in words that repeat none of it."""
    with pytest.raises(ValueError, match=r"^takes ") as caught:
        Signer.from_text(text)
    assert "MfKQ" not in str(caught.value)
    assert "MfKQ" not in repr(caught.value.__cause__)


def test_a_signer_keeps_its_secret() -> None:
    """A signer that is logged shows no key."""
    signer = Signer.from_text(secret_of(b"MfKQ9r8GKYqrTwjUPD8ILPZIo"))
    assert "MfKQ" not in f"{signer!r} {signer}"


def test_ids_have_no_full_stop() -> None:
    """A message whose id could pass for an id and a time is not signed."""
    with pytest.raises(ValueError, match="full stop"):
        Signer.from_text(SECRET).headers("a.1", TIMESTAMP, BODY)


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("https://a.example/x?y", "/z", "https://a.example/z"),
        ("https://a.example/x/y", "z;v=1?w=2", "https://a.example/x/z;v=1?w=2"),
        ("https://a.example/x", "//b.example:8443/", "https://b.example:8443/"),
        ("http://a.example/x", "https://a.example/x", "https://a.example/x"),
        ("http://a.example/x", "http://[::1]/", "http://[::1]/"),
    ],
)
def test_redirects(url: str, location: str, target: str) -> None:
    """A redirect leads where RFC 3986 5.2 says, on another host too."""
    assert redirected(url, Answer(307, {"location": location})) == target


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("https://a.example/x", "http://a.example/x"),
        ("http://a.example/x", "file:///etc/passwd"),
        ("http://a.example/x", "gopher://a.example/"),
        ("http://a.example/x", "javascript:1"),
        ("http://a.example/x", "https://user:password@b.example/"),
        ("http://a.example/x", "https://b.example/#part"),
        ("http://a.example/x", "https://b.example:99999/"),
        ("http://a.example/x", "https:///path"),
        ("http://a.example/x", "http://[::1"),
        ("http://a.example/x", "http://a.example\\@b.example/"),
        ("http://a.example/x", "/" + "x" * 4000),
    ],
)
def test_refused_redirects(url: str, location: str) -> None:
    """A redirect from https to http, or to what no request may name, is not followed."""
    with pytest.raises(CallbackFailed, match="redirected") as caught:
        redirected(url, Answer(308, {"location": location}))
    assert (caught.value.status, caught.value.final) == (308, False)


def test_redirect_to_nowhere() -> None:
    """A redirect that does not say where to is not followed."""
    with pytest.raises(CallbackFailed, match="no URL"):
        redirected("http://a.example/", Answer(307, {}))


class Silent(Outward):
    """Leads on at once, and then does not answer, however long it may take."""

    def __init__(self) -> None:
        super().__init__(AddressPolicy())
        self.urls: list[str] = []

    async def post(self, url: str, *_: object, **__: object) -> Answer:
        """A redirect, once."""
        self.urls.append(url)
        if len(self.urls) > 1:
            await asyncio.Event().wait()
        return Answer(307, {"location": "/next"})


def test_attempt_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt ends in time whatever its redirects take."""
    monkeypatch.setattr(callbacks, "ATTEMPT_SECONDS", 0.05)

    async def play() -> None:
        outward = Silent()
        async with asyncio.timeout(10):
            with pytest.raises(OutwardFailed, match=r"^no answer within 0\.05 s$"):
                await send(outward, Signer.from_text(SECRET), "http://a.example/", MESSAGE_ID, TIMESTAMP, BODY)
        assert outward.urls == ["http://a.example/", "http://a.example/next"]

    asyncio.run(play())


def test_delays() -> None:
    """Delays grow fourfold to six hours; the twelfth failure is the last, about a day after the first."""
    delays = [delay_seconds(attempts, 0.0) for attempts in range(1, 13)]
    assert delays == [1, 4, 16, 64, 256, 1024, 4096, 16384, 21600, 21600, 21600, None]
    assert DAY_SECONDS <= sum(each for each in delays if each is not None) <= 1.1 * DAY_SECONDS


@given(st.integers(1, 11), st.floats(0, 1, exclude_max=True))
def test_spread(attempts: int, spread: float) -> None:
    """Chance takes at most a quarter from a delay, and adds nothing to it."""
    longest, delay = delay_seconds(attempts, 0.0), delay_seconds(attempts, spread)
    assert longest is not None
    assert delay is not None
    assert 0.75 * longest <= delay <= longest


@pytest.mark.parametrize(("asked", "seconds"), [(0, 1), (1, 1), (90, 90), (DAY_SECONDS, 21_600), (10**9, 21_600)])
def test_the_receiver_may_want_it_later(asked: int, seconds: int) -> None:
    """What it asks for counts where it is longer, up to the longest delay."""
    assert delay_seconds(1, 0.0, asked) == seconds
    assert delay_seconds(12, 0.0, asked) is None


@given(st.integers(12, 10**9), st.floats(0, 1, exclude_max=True))
def test_given_up(attempts: int, spread: float) -> None:
    """What failed twelve times or more is given up."""
    assert delay_seconds(attempts, spread) is None
