"""An address is judged by its text: loopback beyond doubt for drills, surely not loopback elsewhere."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_lib.parameters.hosts import address_of, fault_in_drill, fault_outside_drills, template_of

LOOPBACK = [
    "http://127.0.0.1:7401",
    "http://127.0.0.1",
    "https://127.255.255.254:1/api",
    "http://localhost:65535/x",
    "http://LOCALHOST:80",
    "http://[::1]:7401/a/b",
    "http://[0:0:0:0:0:0:0:1]",
]
NOT_LOOPBACK = [
    "https://api.vercel.com",
    "http://128.0.0.1",
    "http://0.0.0.0:7401",
    "http://127.0.0.1.evil.com",
    "http://localhost.evil.com",
    "http://127.0.0.1.",
    "http://localhost.",
    "http://2130706433",
    "http://0x7f000001",
    "http://0177.0.0.1",
    "http://127.1",
    "http://127.0.0.01",
    "http://[::ffff:127.0.0.1]:7401",
    "http://[::ffff:7f00:1]",
    "http://[::]",
    "http://[::127.0.0.1]",
]
NO_ADDRESS = [
    "http://127.0.0.1@evil.com",
    "http://evil.com@127.0.0.1",
    "http://127.0.0.1:80@evil.com/",
    "http://127.0.0.1\\@evil.com",
    "http://127.0.0.1#@evil.com",
    "http://127.0.0.1?@evil.com",
    "http://127.0.0.1%2eevil.com",
    "http://127.0.0.1 .evil.com",
    "http://127.0.0.1:99999",
    "http://127.0.0.1:0",
    "http://127.0.0.1:",
    "http://[::1%25eth0]",
    "http://[::1",
    "http://\uff11\uff12\uff17.0.0.1",
    "http://\uff4cocalhost",
    "http:///127.0.0.1",
    "http:/127.0.0.1",
    "//127.0.0.1",
    "127.0.0.1:7401",
    "file:///etc/passwd",
    "ftp://127.0.0.1",
    "http://127.0.0.1\n",
    "http://127.0.0.1/\tx",
    "",
]
THIS_MACHINE = [
    "https://localhost",
    "https://localhost.",
    "https://app.localhost",
    "https://127.0.0.1",
    "https://127.0.0.1.",
    "https://127.1",
    "https://2130706433",
    "https://0x7f000001",
    "https://0177.0.0.1",
    "https://1.2.3.0x4",
    "https://0.0.0.0",
    "https://169.254.169.254",
    "https://[::1]",
    "https://[::]",
    "https://[::ffff:127.0.0.1]",
    "https://[::127.0.0.1]",
    "https://[64:ff9b::7f00:1]",
    "https://[2002:7f00:1::]",
    "https://[:::]",
    "https://.",
]


@pytest.mark.parametrize("url", LOOPBACK)
def test_loopback_in_plain_writing_serves_a_drill_only(url):
    """A loopback address is taken in a drill, and refused elsewhere even over https."""
    assert fault_in_drill(address_of(url)) is None
    assert fault_outside_drills(address_of(url.replace("http:", "https:"))) is not None


@pytest.mark.parametrize("url", NOT_LOOPBACK)
def test_anything_not_surely_loopback_is_refused_in_a_drill(url):
    """A drill takes no address that some reader might take elsewhere."""
    assert "loopback" in str(fault_in_drill(address_of(url)))


@pytest.mark.parametrize("url", NO_ADDRESS)
def test_a_tricky_address_is_no_address_at_all(url):
    """User parts, fragments, spaces, foreign digits and odd ports are refused before any judgement."""
    with pytest.raises(ValueError, match="must") as refused:
        address_of(url)
    assert not url or url not in str(refused.value)


def test_a_user_or_password_in_an_address_is_called_by_its_name():
    """Whoever wrote a token into an address reads what is wrong with it."""
    with pytest.raises(ValueError, match="no user or password"):
        address_of("https://token@api.vercel.com")


@pytest.mark.parametrize("url", THIS_MACHINE)
def test_whatever_may_end_on_this_machine_is_refused_outside_drills(url):
    """No way of writing loopback passes for production."""
    assert fault_outside_drills(address_of(url)) is not None


@pytest.mark.parametrize(
    "url",
    [
        "https://api.vercel.com",
        "https://slack.com/api",
        "https://api.vercel.com.",
        "https://sentry.internal:8443/prefix",
        "https://10.1.2.3",
        "https://[2606:4700::1111]:443",
        "https://127.0.0.1.nip.io",  # a public name; where its owner points it is not looked up
    ],
)
def test_an_https_address_elsewhere_is_taken_outside_drills(url):
    """An https address of another machine passes."""
    assert fault_outside_drills(address_of(url)) is None


def test_plain_http_is_refused_outside_drills():
    """Without https nothing passes outside drills."""
    assert fault_outside_drills(address_of("http://api.vercel.com")) == "must be https outside drills"


@pytest.mark.parametrize(
    ("template", "in_drill", "outside"),
    [
        ("https://{url}", False, True),
        ("https://{url}/base", False, True),
        ("http://{url}", False, False),
        ("http://127.0.0.1:7404/_deployment/{url}", True, False),
        ("https://proxy.derrimut247.com.au/{url}", False, True),
        ("https://localhost/{url}", True, False),
    ],
)
def test_a_template_is_judged_by_its_fixed_host(template, in_drill, outside):
    """A template with its hole in the path has the host it names; one whose host is the hole is not loopback."""
    address = template_of(template)
    assert (fault_in_drill(address) is None) is in_drill
    assert (fault_outside_drills(address) is None) is outside


@pytest.mark.parametrize(
    "template",
    [
        "https://app.vercel.app",
        "https://{url}{url}",
        "http://127.0.0.1/{url}/{url}",
        "https://{host}",
        "https://{url}.evil.com",
        "https://{url}@evil.com",
        "http://127.0.0.1{url}",
        "http://127.0.0.1:7404{url}",
        "http://127.0.0.1#/{url}",
        "http://127.0.0.1?u={url}",
        "http://127.0.0.1@evil.com/{url}",
        "ftp://{url}",
        "{url}",
        "https://{url}/{0}",
    ],
)
def test_a_template_with_a_movable_host_is_refused(template):
    """The hole can neither prolong a host nor come twice."""
    with pytest.raises(ValueError, match="must"):
        template_of(template)


SIGNS = st.sampled_from([*"127.0[]:@/\\#?%-", "127.0.0.1", "localhost", "::1", "evil.com", "0x7f", "\uff11"])
TEXTS = st.lists(SIGNS, max_size=8).map(lambda parts: "http://" + "".join(parts))


@given(TEXTS)
def test_what_a_drill_takes_other_readers_also_take_to_loopback(url):
    """Nothing is judged loopback that httpx or the standard library would send elsewhere."""
    try:
        address = address_of(url)
    except ValueError:
        return
    if fault_in_drill(address) is None:
        for host in (httpx.URL(url).host, urlsplit(url).hostname):
            assert host == "localhost" or ipaddress.ip_address(str(host)).is_loopback


@given(
    st.lists(
        st.sampled_from(["127", "0", "1", "0x7f", "0177", "00", "2130706433", "017700000001"]), min_size=1
    )
)
def test_every_number_the_resolver_takes_to_loopback_is_refused_outside_drills(parts):
    """All the notations that `inet_aton` reads as 127.x are refused."""
    host = ".".join(parts)
    try:
        is_loopback = socket.inet_aton(host)[0] == 127
    except OSError:
        return
    if is_loopback:
        assert fault_outside_drills(address_of(f"https://{host}")) is not None
