import asyncio
import base64
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from headway_operator.shell import authority
from headway_operator.shell.authority import bundle, issued, renewed
from headway_operator.shell.certificates import Certificates, Served
from headway_operator.shell.cluster import ApiError
from shell_tests.fakes import FakeStore

NOW = datetime(2026, 1, 31, tzinfo=UTC)
NAMES = ("headway-operator.system.svc", "headway-operator.system")
DAYS = timedelta(days=90)


def at(days):
    return NOW + timedelta(days=days)


def renew(data, days=0.0, names=NAMES):
    return renewed(data, names, DAYS, at(days))


def authorities(data):
    return x509.load_pem_x509_certificates(bundle(data).encode())


def issuer_key(data):
    """Number of the authority in the bundle that has signed the server's certificate."""
    served = x509.load_pem_x509_certificate(data["tls.crt"])
    for number, signer in enumerate(authorities(data)):
        if signer.subject == served.issuer:
            served.verify_directly_issued_by(signer)
            return number
    return None


def test_an_empty_secret_is_filled():
    data = renew({})
    assert set(data) == {"ca.crt", "ca.key", "tls.crt", "tls.key"}
    served = x509.load_pem_x509_certificate(data["tls.crt"])
    names = served.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert tuple(names.get_values_for_type(x509.DNSName)) == NAMES
    assert issuer_key(data) == 0


def test_nothing_changes_until_something_is_due():
    data = renew({})
    assert renew(data, 59) == data


def test_the_servers_certificate_is_renewed_when_a_third_is_left():
    data = renew({})
    later = renew(data, 61)
    assert later["tls.crt"] != data["tls.crt"] and later["ca.crt"] == data["ca.crt"]


def test_a_new_name_gives_a_new_certificate():
    data = renew({})
    later = renew(data, 1, (*NAMES, "other.system.svc"))
    assert later["tls.crt"] != data["tls.crt"]


GARBAGE = {
    "rubbish": b"rubbish",
    "bytes": b"\xff\x00",
    "half": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
}


@pytest.mark.parametrize("key", ["ca.crt", "ca.key", "tls.crt", "tls.key"])
def test_what_is_missing_or_broken_is_made_anew(key):
    data = renew({})
    without = {name: value for name, value in data.items() if name != key}
    for damaged in (without, *(data | {key: value} for value in GARBAGE.values())):
        mended = renew(damaged)
        assert issuer_key(mended) == 0 and renew(mended) == mended
        made(FakeStore())._use(mended)


@pytest.mark.parametrize("pair", [("ca.crt", "ca.key"), ("tls.crt", "tls.key")])
def test_a_key_that_is_not_the_certificates_is_made_anew(pair):
    data, other = renew({}), renew({})
    for key in pair:
        mended = renew(data | {key: other[key]})
        assert issuer_key(mended) == 0 and renew(mended) == mended


def test_a_coming_authority_that_is_damaged_is_made_anew():
    published = renew(renew({}), 490)
    for key in ("next-ca.crt", "next-ca.key"):
        for damaged in ({k: v for k, v in published.items() if k != key}, published | {key: b"rubbish"}):
            mended = renew(damaged, 491)
            assert len(authorities(mended)) == 2 and mended["ca.crt"] == published["ca.crt"]


def test_a_strangers_key_in_the_secret_is_dropped():
    assert set(renew({"hello": b"x"})) == {"ca.crt", "ca.key", "tls.crt", "tls.key"}


def test_a_new_authority_is_published_for_a_day_before_it_signs_and_the_old_one_as_long_as_it_is_valid():
    data = renew({})
    published = renew(data, 490)  # a third of 730 days is left
    assert len(authorities(published)) == 2 and issuer_key(published) == 0
    assert published["ca.crt"] == data["ca.crt"]
    assert issuer_key(renew(published, 490.9)) == 0
    used = renew(published, 491)
    assert used["ca.crt"] == published["next-ca.crt"] and issuer_key(used) == 0
    assert used["previous-ca.crt"] == data["ca.crt"] and len(authorities(used)) == 2
    assert len(authorities(renew(used, 731))) == 1


def test_over_five_years_every_certificate_that_is_served_was_trusted_a_day_before():
    data, trusted = {}, None
    for day in range(5 * 365):
        data = renew(data, day)
        subjects = {trusting.subject for trusting in authorities(data)}
        served = x509.load_pem_x509_certificate(data["tls.crt"])
        assert served.not_valid_after_utc > at(day + 1)
        assert trusted is None or served.issuer in trusted
        trusted = subjects


def secret(data=None):
    encoded = {key: base64.b64encode(value).decode() for key, value in (data or {}).items()}
    return {"kind": "Secret", "metadata": {"name": "tls", "namespace": "system"}, "data": encoded}


def made(store, days=0.0):
    return Certificates(store, "system", "tls", NAMES, 90, clock=lambda: at(days))


def handshake(server_context, ca, name=NAMES[0]):
    """Shake hands in memory, as strictly as Python 3.13; return the certificate that the client has seen."""
    client_context = ssl.create_default_context(cadata=ca)
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(5):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return client.getpeercert(True)


def today(data=None):
    """Real handshakes look at the real clock."""
    store = FakeStore(secret(data))
    return store, Certificates(store, "system", "tls", NAMES, 90)


def test_the_leader_fills_and_the_followers_serve_what_it_has_written():
    store, leader = today()
    follower = Certificates(store, "system", "tls", NAMES, 90)

    async def story():
        await follower.read()
        assert not follower.ready.is_set()
        await leader.renew(store)
        await follower.read()

    asyncio.run(story())
    assert follower.ready.is_set() and follower.ca_bundle == leader.ca_bundle
    assert handshake(follower.context, leader.ca_bundle)
    assert [call[0] for call in store.writes()] == ["replace"]


def test_a_renewed_certificate_is_served_without_a_restart():
    store, leader = today()
    asyncio.run(leader.renew(store))
    first = handshake(leader.context, leader.ca_bundle)
    new = renewed(leader._data, (*NAMES, "more"), DAYS, datetime.now(UTC))
    leader._use(new)
    second = handshake(leader.context, leader.ca_bundle)
    assert first != second and second == x509.load_pem_x509_certificate(new["tls.crt"]).public_bytes(
        authority.serialization.Encoding.DER
    )


@pytest.mark.parametrize("key", ["ca.crt", "ca.key", "tls.crt", "tls.key"])
@pytest.mark.parametrize("value", [*GARBAGE.values(), None], ids=[*GARBAGE, "no base64"])
def test_a_damaged_secret_is_no_certificate_and_the_leader_mends_it(key, value):
    data = renewed({}, NAMES, DAYS, datetime.now(UTC))
    store, leader = today(data | {key: value or b""})
    if value is None:
        store.objects["Secret", "system", "tls"]["data"][key] = "%%%"
    follower = Certificates(store, "system", "tls", NAMES, 90)

    async def story():
        await follower.read()
        assert follower.ready.is_set() == (key == "ca.key")  # of which only the leader has need
        await leader.renew(store)
        await follower.read()

    asyncio.run(story())
    assert handshake(follower.context, follower.ca_bundle)


def test_a_secret_that_is_damaged_later_takes_nothing_from_those_who_serve():
    store, leader = today()
    asyncio.run(leader.renew(store))
    trusted = leader.ca_bundle
    other = renewed({}, NAMES, DAYS, datetime.now(UTC))
    for damage in ({"tls.key": other["tls.key"]}, {"ca.crt": b"rubbish"}, {"tls.crt": b""}):
        leader._use(leader._data | damage)
        assert leader.ca_bundle == trusted and handshake(leader.context, trusted)


def test_another_host_is_not_believed():
    store, leader = today()
    asyncio.run(leader.renew(store))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(leader.context, leader.ca_bundle, "evil.example")


def test_a_missing_secret_is_named():
    with pytest.raises(ApiError, match="secret system/tls is missing"):
        asyncio.run(made(FakeStore()).read())


# --- another server of ours ---------------------------------------------------------------------------------------

STUDIES = ("headway-studies.system.svc",)


def test_another_server_gets_a_certificate_by_the_same_authority_and_never_its_key():
    data = renew({})
    given = issued(data, {}, STUDIES, DAYS, at(0))
    assert set(given) == {"ca.crt", "tls.crt", "tls.key"}
    assert given["tls.key"] != data["tls.key"] and given["ca.crt"] == bundle(data).encode()
    x509.load_pem_x509_certificate(given["tls.crt"]).verify_directly_issued_by(authorities(data)[0])


def test_it_is_renewed_in_time_and_with_the_authority_and_otherwise_left_alone():
    data = renew({})
    given = issued(data, {}, STUDIES, DAYS, at(0))
    assert issued(data, given, STUDIES, DAYS, at(59)) == given
    assert issued(data, given, STUDIES, DAYS, at(61))["tls.crt"] != given["tls.crt"]
    assert issued(data, given, (*STUDIES, "more"), DAYS, at(1))["tls.crt"] != given["tls.crt"]
    assert issued(renew({}), given, STUDIES, DAYS, at(1))["tls.crt"] != given["tls.crt"]
    assert issued(data, given | {"stranger": b"x"}, STUDIES, DAYS, at(1)) == given


def test_the_leader_fills_the_secret_of_the_other_server_once():
    empty = {"kind": "Secret", "metadata": {"name": "studies-tls", "namespace": "system"}}
    store = FakeStore(secret(), empty)
    leader = Certificates(store, "system", "tls", NAMES, 90, [Served("studies-tls", STUDIES)])
    asyncio.run(leader.renew(store))
    held = store.objects["Secret", "system", "studies-tls"]["data"]
    assert base64.b64decode(held["ca.crt"]).decode() == leader.ca_bundle
    asyncio.run(leader.renew(store))
    assert [call[0] for call in store.writes()] == ["replace", "replace"]


def test_a_missing_secret_of_the_other_server_is_named_and_the_own_is_good():
    store = FakeStore(secret())
    leader = Certificates(store, "system", "tls", NAMES, 90, [Served("studies-tls", STUDIES)])
    with pytest.raises(ApiError, match="secret system/studies-tls is missing"):
        asyncio.run(leader.renew(store))
    assert leader.ready.is_set()
