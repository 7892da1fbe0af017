import re
from dataclasses import fields
from pathlib import Path

import pytest
from headway_operator.shell.settings import Settings, SettingsError, read_settings

DOCS = Path(__file__).resolve().parents[2] / "docs" / "operator.md"


def test_without_variables_the_defaults_hold():
    assert read_settings({}) == Settings()
    assert read_settings({"HEADWAY_WORKERS": ""}) == Settings()


def test_each_variable_is_read():
    environ = {f"HEADWAY_{f.name.upper()}": "7" if f.type != "str" else "INFO" for f in fields(Settings)}
    environ |= {"HEADWAY_LEASE_RETRY_SECONDS": "1", "HEADWAY_LEASE_RENEW_SECONDS": "2", "HEADWAY_LEASE_SECONDS": "3"}
    environ |= {"HEADWAY_STUDIES_URL": "https://studies:7"}
    settings = read_settings(environ)
    assert settings.workers == 7 and settings.resync_seconds == 7.0 and settings.secret_name == "INFO"
    assert all(getattr(settings, f.name) != f.default for f in fields(Settings) if f.name != "log_level")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"HEADWAY_WORKERS": "many"}, "HEADWAY_WORKERS: found 'many': give a whole number"),
        ({"HEADWAY_WORKERS": "1.5"}, "HEADWAY_WORKERS: found '1.5': give a whole number"),
        ({"HEADWAY_RESYNC_SECONDS": "0"}, "HEADWAY_RESYNC_SECONDS: found '0': give a number above 0"),
        ({"HEADWAY_RESYNC_SECONDS": "nan"}, "HEADWAY_RESYNC_SECONDS: found 'nan': give a number above 0"),
        ({"HEADWAY_LEASE_SECONDS": "5"}, "must increase in this order: found 2.0, 10.0, 5.0"),
        ({"HEADWAY_STUDIES_URL": "http://studies:7"}, "HEADWAY_STUDIES_URL: found 'http://studies:7': give https://"),
        ({"HEADWAY_STUDIES_URL": "https:"}, "HEADWAY_STUDIES_URL: found 'https:': give https://"),
        ({"HEADWAY_STUDIES_SECRET_NAME": "x"}, "HEADWAY_STUDIES_SECRET_NAME needs HEADWAY_STUDIES_URL"),
        ({"HEADWAY_LOG_LEVEL": "LOUD"}, "HEADWAY_LOG_LEVEL: found 'LOUD': give DEBUG, INFO, WARNING or ERROR"),
    ],
)
def test_what_cannot_be_used_is_named(environ, message):
    with pytest.raises(SettingsError, match=re.escape(message)):
        read_settings(environ)


def test_namespaces_are_a_list():
    assert read_settings({"HEADWAY_WATCH_NAMESPACES": "team-a, team-b,"}).namespaces == ("team-a", "team-b")
    assert Settings().namespaces == ()


def test_pods_are_sent_to_a_name_that_is_in_the_certificate():
    settings = Settings(operator_namespace="system", service_name="op")
    assert settings.progress_url == "https://op.system.svc:8443"
    assert "op.system.svc" in settings.server_names


def test_the_study_service_has_all_names_of_its_service_in_its_certificate():
    settings = Settings(studies_url="https://headway-studies.system.svc:8443")
    host = "headway-studies.system"
    assert settings.studies_names == (f"{host}.svc", f"{host}.svc.cluster.local", host)


def test_every_setting_is_documented():
    text = DOCS.read_text()
    assert [f.name for f in fields(Settings) if f"`HEADWAY_{f.name.upper()}`" not in text] == []
