"""Which rules apply to a document, in which order, and what a verdict carries."""

import pytest

from data_prep import documents
from data_prep.rules import filters, hosts
from lmcodistill import errors
from lmcodistill.settings import filtering

# Nothing here minds any rule; every line has fourteen words or more.
PROSE = """\
The old captain of the ferry had a wooden box that nobody could open.
Every evening he put it on the table and looked for another key to try.
His daughter said with a laugh that it must be full of sand by now.
One winter the river froze, and people walked across without paying him a penny.
So he sold his boat to a farmer, kept only the box, and went inland.
"""[:-1]
ANY_LANGUAGE = filtering.LanguageRule(language="")


def judge(text, *, is_web=True, declared="", url="", **rules):
    document = documents.Document(
        id="0" * 32, text=text, is_web=is_web, language=declared, url=url
    )
    rules = {"language": ANY_LANGUAGE, **rules}
    return filters.judge(document, filtering.Rules(**rules))


def test_prose_passes_every_rule():
    verdict = judge(
        PROSE,
        gopher=filtering.GopherRules(repetition=True),
        fineweb=filtering.FineWebRules(apply_to="web"),
        lengths=filtering.LengthRules(apply_to="web", long_paragraph_words=14),
    )

    assert (verdict.reason, verdict.text) == (None, PROSE)


def test_web_rules_leave_other_text_alone():
    assert judge("a short poem", is_web=False).reason is None
    assert judge("a short poem", is_web=True).reason == "c4_no_good_line"


def test_blank_document_is_dropped():
    assert judge(" \n\t ", is_web=False).reason == "empty"
    assert judge("", is_web=False).reason == "empty"


def test_declared_language_is_looked_at_before_the_text():
    english = filtering.LanguageRule(language="en")

    verdict = judge("{", declared="deu", language=english)

    assert (verdict.reason, verdict.language) == ("other_language", "deu")


def test_declared_language_is_believed_unless_the_model_is_asked_too():
    pytest.importorskip("fasttext", reason="fasttext-predict is not installed")
    german = "Der Hauptmann ging zum Fluss und setzte sich auf einen Stein. " * 9
    free = {
        "c4": filtering.C4Rules(apply_to="none"),
        "gopher": filtering.GopherRules(apply_to="none"),
    }
    trusting = filtering.LanguageRule(language="en")
    checking = filtering.LanguageRule(language="en", check_declared=True)

    assert judge(german, declared="eng", language=trusting, **free).reason is None
    verdict = judge(german, declared="eng", language=checking, **free)
    assert (verdict.reason, verdict.language) == ("other_language", "deu")


def test_verdict_carries_the_text_as_the_last_rule_saw_it():
    page = f"Home\n{PROSE}\nContact"
    short = "Home\nOne good line is all of this.\nContact"

    assert judge(page).text == PROSE
    assert judge(short).text == "One good line is all of this."


def test_personal_data_is_masked_and_counted_in_kept_documents_only():
    page = PROSE + "\nYou may write to jane.doe@mail.example.net for the rest of it."
    masking = filtering.Masking(emails=True)

    verdict = judge(page, masking=masking)

    assert "jane" not in verdict.text
    assert verdict.masked == {"email": 1}
    assert not judge("write to jane.doe@mail.example.net", masking=masking).masked


@pytest.fixture
def blocked(tmp_path):
    path = tmp_path / "hosts.txt"
    path.write_text(
        "# made for a test\nads.example.com\n0.0.0.0 Bad.Example # a hosts file\n"
        "*.wild.example\n\n.dotted.example\n"
        "m\u00fcller.example\nXN--BCHER-KVA.example\n\U0001f600.example\n"
        "ported.example:8080\nhttps://whole.example:8443/\n//slashed.example\n"
        "127.0.0.1 first.example second.example\n"
        "192.0.2.7\n[2001:db8::1]:80\n2001:DB8:0:0::2\n::1 ip6.example\n",
        encoding="utf-8",
    )
    return filtering.UrlRules(blocked_hosts=str(path))


@pytest.mark.parametrize(
    ("url", "is_blocked"),
    [
        ("https://ads.example.com/a", True),
        ("http://user:word@x.y.ads.example.com:8080/a?b", True),
        ("https://BAD.example./", True),
        ("https://wild.example/", True),
        ("https://a.dotted.example/", True),
        ("https://example.com/ads.example.com", False),
        ("https://notbad.example/", False),
        ("https://M\u00dcLLER.example/", True),
        ("https://mu\u0308ller.example/", True),
        ("https://www.xn--mller-kva.example/", True),
        ("https://m%C3%BCller.example/", True),
        ("https://b\u00fccher.example/", True),
        ("https://b\u00fccher\u3002example/", True),
        ("https://xn--e28h.example/", True),
        ("https://ported.example/", True),
        ("http://whole.example/a", True),
        ("http://slashed.example/", True),
        ("http://first.example/", True),
        ("http://second.example/", True),
        ("http://ip6.example/", True),
        ("http://192.0.2.7:99/", True),
        ("http://1.192.0.2.7.example/", False),
        ("http://[2001:0db8::1]/", True),
        ("http://[2001:db8::2]:8080/", True),
        ("http://[2001:db8::3]/", False),
        ("https://[broken", False),
        ("", False),
    ],
)
def test_listed_hosts_and_those_below_them_are_blocked(blocked, url, is_blocked):
    verdict = judge(PROSE, url=url, urls=blocked)

    assert verdict.reason == ("blocked_url" if is_blocked else None)


@pytest.mark.parametrize(
    "line",
    [
        "||ads.example^",
        "[Adblock Plus 2.0]",
        "! a comment",
        "ads.example/page.html",
        "https://ads.example/page?id=1",
        "ads.*.example",
        "ads.example other.example",
        "ads.example:port",
        "ads..example",
        "/banner[0-9]/",
        "<ads.example>",
        "x" * 64 + ".example",
        "m\udcfcller.example",  # Latin-1.
    ],
)
def test_line_that_names_no_host_is_refused_with_its_number(tmp_path, line):
    path = tmp_path / "hosts.txt"
    path.write_bytes(b"good.example\n" + line.encode(errors="surrogateescape"))
    rules = filtering.UrlRules(blocked_hosts=str(path))

    with pytest.raises(errors.DataError, match="BLOCKED_HOSTS.*line 2 names no host"):
        hosts.drop_reason("https://a.example/", rules)


def test_digest_of_a_block_list_is_that_of_its_content(blocked, tmp_path):
    before = hosts.digest_of(blocked.blocked_hosts)
    (tmp_path / "hosts.txt").write_text("other.example\n")

    assert hosts.digest_of("") == ""
    assert len(before) == 64
    assert hosts.digest_of(blocked.blocked_hosts) != before


def test_missing_and_empty_block_lists_are_errors_that_name_the_knob(tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text("# nothing\n")

    with pytest.raises(errors.DataError, match="BLOCKED_HOSTS.*No such file"):
        hosts.digest_of(str(tmp_path / "absent"))
    rules = filtering.UrlRules(blocked_hosts=str(empty))
    with pytest.raises(errors.DataError, match="BLOCKED_HOSTS.*names no host"):
        hosts.drop_reason("https://a.example/", rules)
