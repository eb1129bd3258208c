"""User lists and password hashes, against hashes that other programs made."""

from __future__ import annotations

import base64
import shutil
import subprocess

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.credentials import (
    MAX_BCRYPT_COST,
    MAX_PASSWORD_BYTES,
    MAX_USERS,
    decoy_secret,
    is_slow,
    md5_crypt,
    parse_basic_authorization,
    parse_users,
    parse_users_file,
    verify,
)
from shared.errors import ConfigError

SHA_OF_TEST = "{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M="
BCRYPT_OF_TEST = bcrypt.hashpw(b"test", bcrypt.gensalt(4)).decode()

# Made with `openssl passwd -apr1 -salt S P` and `openssl passwd -1 -salt S P`; the third is an old sample.
MD5_HASHES = [
    ("pässword with spaces and more than sixteen bytes", "$apr1$abcdefgh$frqIj9FOSS0umlQUO7nZ0."),
    ("", "$1$ab$rn6aQS/o7141mj179E/zA."),
    ("test", "$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/"),
    ("x", "$1$12345678$7y7mHQRucjgVYVF1mZqKC1"),
    ("0123456789abcdef", "$apr1$a0$0VBahho2xhSdrB47Gzukg0"),
]


@pytest.mark.parametrize(("password", "secret"), MD5_HASHES)
def test_md5_crypt_agrees_with_openssl(password, secret):
    assert verify(password.encode(), secret)
    assert not verify(password.encode() + b"x", secret)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
@pytest.mark.parametrize("length", [1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 128, 200])
def test_md5_crypt_of_every_length_agrees_with_openssl(length):
    password = ("aZ9/" * 50)[:length]
    command = ["openssl", "passwd", "-apr1", "-salt", "Salt", "-stdin"]
    made = subprocess.run(command, input=password.encode(), capture_output=True, check=True, timeout=30)
    assert md5_crypt(password.encode(), b"Salt", b"$apr1$") == made.stdout.strip()


def test_md5_crypt_reads_eight_bytes_of_salt():
    assert md5_crypt(b"p", b"12345678ignored", b"$1$") == md5_crypt(b"p", b"12345678", b"$1$")


def test_sha_matches_only_its_password():
    assert verify(b"test", SHA_OF_TEST)
    assert not verify(b"Test", SHA_OF_TEST)


@pytest.mark.parametrize("version", ["$2a$", "$2b$", "$2y$"])
def test_bcrypt_matches_in_every_spelling(version):
    secret = version + BCRYPT_OF_TEST[4:]
    assert verify(b"test", secret)
    assert not verify(b"tests", secret)


def test_bcrypt_reads_72_bytes_as_other_implementations_do():
    secret = bcrypt.hashpw(b"p" * 72, bcrypt.gensalt(4)).decode()
    assert verify(b"p" * 72 + b"more", secret)
    assert not verify(b"p" * 71, secret)


@pytest.mark.parametrize(
    "secret",
    [
        "test",
        "",
        "{SHA}",
        "$2y$",
        "$2y$99$x",
        "$2b$05$tooshort",
        "$1$",
        "$$$",
        "$apr1$salt",
        "{SSHA}x",
        "$2b$é",
    ],
)
def test_plain_text_and_malformed_hashes_never_match(secret):
    assert not verify(b"test", secret)
    assert not verify(b"", secret)
    assert not verify(secret.encode(), secret)


def test_an_absurdly_long_password_is_not_hashed():
    password = b"p" * (MAX_PASSWORD_BYTES + 1)
    assert not verify(password, md5_crypt(password, b"s", b"$1$").decode())


@given(st.binary(max_size=80), st.text(max_size=40))
def test_any_secret_is_answered(password, secret):
    assert verify(password, secret.replace("$2", "")) in (True, False)


def test_which_hashes_are_slow():
    assert is_slow(BCRYPT_OF_TEST)
    assert is_slow("$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/")
    assert not is_slow(SHA_OF_TEST)
    assert not is_slow("plain")


def test_the_decoy_is_the_most_expensive_hash():
    md5 = "$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/"
    dear = "$2y$12$" + BCRYPT_OF_TEST[7:]
    assert decoy_secret({"a": SHA_OF_TEST, "b": md5}) == md5
    assert decoy_secret({"a": dear, "b": md5, "c": BCRYPT_OF_TEST}) == dear
    assert decoy_secret({}) == ""


def test_users_are_read_and_later_entries_win():
    assert parse_users(["a:1", "b:2", "a:3"]) == {"a": "3", "b": "2"}


@pytest.mark.parametrize("entry", ["nocolon", "a:b:c", ""])
def test_an_entry_needs_exactly_one_colon_and_is_not_quoted(entry):
    with pytest.raises(ConfigError) as caught:
        parse_users(["ok:x", entry], "users")
    assert caught.value.path == "users[1]"
    assert caught.value.reason == "error parsing BasicUser: entry 2 is not name:hash"


def test_hashing_and_the_list_are_bounded():
    with pytest.raises(ConfigError, match="bcrypt cost is over"):
        parse_users([f"a:$2y${MAX_BCRYPT_COST + 1}$x"])
    with pytest.raises(ConfigError, match="more than"):
        parse_users(f"u{number}:x" for number in range(MAX_USERS + 1))


def test_a_users_file_may_hold_comments_and_blank_lines():
    assert parse_users_file("\n# comment\n  a:1  \r\n\t#x\nb:2") == ["a:1", "b:2"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"a:b", ("a", b"b")),
        (b"a:b:c", ("a", b"b:c")),
        (b":", ("", b"")),
        (b"a", None),
        ("ä:ö".encode(), ("ä", "ö".encode())),
    ],
)
def test_basic_credentials_are_split_at_the_first_colon(text, expected):
    value = base64.b64encode(text)
    assert parse_basic_authorization(b"Basic " + value) == expected
    assert parse_basic_authorization(b"bAsIc " + value) == expected


@pytest.mark.parametrize(
    "value", [None, b"", b"Basic", b"Basic !!", b"Basic  YTpi", b"Bearer YTpi", b"Basic YTpi="]
)
def test_other_authorization_is_none(value):
    assert parse_basic_authorization(value) is None
