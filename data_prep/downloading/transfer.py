"""One file over HTTP, however often the connection breaks.

What has come stands in `.NAME.partial`, and beside it what it is a part of: the
server's validator (ETag or Last-Modified) and the whole length. The next try, by
this process or a later one, asks for the rest on the condition that the file is
still the same. Only a whole file gets its name.

requests sends, follows proxies and redirects, and urllib3 reads Retry-After.
urllib3's own retries end where a body begins, sleep without slowing other
threads down, and know no ranges, so the loop is here.
"""

import dataclasses
import pathlib
import random
import re
from collections.abc import Iterator

import requests
import urllib3
from urllib3.util import retry

from data_prep.downloading import gzip_end, rate_limiter
from lmcodistill import errors
from lmcodistill.storage import files

_CHUNK_BYTES = 1 << 18
_CONTENT_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")
# 403 is what Common Crawl's rate limit answers.
_REFUSALS = frozenset({403, 408, 425, 429, 500, 502, 503, 504})
_LONGEST_RETRY_AFTER_SECONDS = 3600.0


@dataclasses.dataclass(frozen=True)
class DownloadPolicy:
    """How requests are made and repeated.

    Attributes:
        user_agent: Names the program and a contact.
        parallel: Files at the same time.
        seconds_between_tries: Between two requests for one file, at least; grows
            twofold with every try in a row that brings nothing new.
        max_wait_seconds: Where it stops growing.
        max_tries: Tries in a row that bring nothing new until it is an error.
        timeout_seconds: Silence after which a connection counts as broken.
    """

    user_agent: str
    parallel: int = 4
    seconds_between_tries: float = 1.0
    max_wait_seconds: float = 60.0
    max_tries: int = 60
    timeout_seconds: float = 60.0


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A gzip file to fetch.

    Attributes:
        url: Where it is.
        path: Where it goes.
        max_bytes: Larger ones are refused.
    """

    url: str
    path: pathlib.Path
    max_bytes: int = 16 << 30


class _Fault(Exception):
    """This try failed; another one may not."""

    def __init__(self, words: str, *, refused: bool = False, wait: float = 0.0):
        super().__init__(words)
        self.refused, self.wait = refused, wait


class Transfer:
    """A file that is being fetched.

    Attributes:
        file: Which one.
        done: Bytes of it that are here.
        length: Bytes of the whole, None until the server has said so.
        trouble: Why the last try failed, or empty.
        warning: What people should know about the file that came, or empty.
    """

    def __init__(
        self,
        file: RemoteFile,
        policy: DownloadPolicy,
        limiter: rate_limiter.RateLimiter,
    ):
        self.file, self._policy, self._limiter = file, policy, limiter
        name = file.path.name
        self._partial = file.path.with_name(f".{name}.partial")
        self._origin = file.path.with_name(f".{name}.partial.json")
        self._was_faulty = False
        self.done = 0
        self.length: int | None = None
        self.trouble = self.warning = ""

    def run(self, session: requests.Session) -> None:
        """Fetches the file, or what is missing of it.

        Raises:
            DataError: the server does not have it, or does not give it.
        """
        self.file.path.parent.mkdir(parents=True, exist_ok=True)
        tries, best = 0, 0
        while True:
            self._limiter.wait_for_turn()
            try:
                self._try(session)
                break
            except _Fault as fault:
                tries = 0 if self.done > best else tries + 1
                best = max(best, self.done)
                self.trouble = str(fault)
                if tries >= self._policy.max_tries:
                    raise errors.DataError(
                        f"{self.file.url} could not be fetched: {fault}, after "
                        f"{tries} tries in a row that brought nothing new. "
                        f"{self.done:,} bytes of it are kept; the same command goes "
                        "on from there. Try later, or give another --mirror."
                    ) from fault
                wait = max(fault.wait, self._back_off(tries))
                if fault.refused:
                    self._limiter.refused(wait)
                self._limiter.sleep(wait)
        self.trouble = ""
        files.fsync_path(self._partial)
        self._partial.replace(self.file.path)
        files.fsync_path(self.file.path.parent)
        self._origin.unlink(missing_ok=True)

    def _back_off(self, tries: int) -> float:
        base = self._policy.seconds_between_tries
        grown = min(base * 2.0 ** min(tries, 30), self._policy.max_wait_seconds)
        return max(base, grown) * random.uniform(1.0, 1.5)

    def _try(self, session: requests.Session) -> None:
        """Sends one request and takes what comes.

        Raises:
            _Fault: the file is not whole yet.
            DataError: it never will be.
        """
        self.done, validator = self._resumable()
        # Killed after the last byte, a process leaves a whole file unnamed.
        if not self.done or self.done != self.length:
            with self._send(session, validator) as response:
                self._check_status(response)
                if response.status_code == 206:
                    self._check_range(response, validator)
                else:
                    self._start_over(response)
                self._limiter.answered()
                self._take(response)
        self._check_whole()

    def _send(self, session: requests.Session, validator: str) -> requests.Response:
        # The file is compressed as it is; another layer would hide its length.
        agent = self._policy.user_agent
        headers = {"Accept-Encoding": "identity", "User-Agent": agent}
        if self.done:
            headers |= {"Range": f"bytes={self.done}-", "If-Range": validator}
        timeout = self._policy.timeout_seconds
        try:
            return session.get(
                self.file.url, headers=headers, stream=True, timeout=timeout
            )
        except requests.exceptions.TooManyRedirects as error:
            raise errors.DataError(
                f"{self.file.url} is redirected in a circle. Check --mirror."
            ) from error
        except (
            requests.exceptions.RequestException,
            urllib3.exceptions.HTTPError,
        ) as e:
            if "CERTIFICATE_VERIFY_FAILED" in str(e):
                raise errors.DataError(
                    f"{self.file.url} shows a certificate that is not trusted: "
                    f"{_cause(e)}. Check --mirror, or name your certificates in "
                    "REQUESTS_CA_BUNDLE."
                ) from e
            raise _Fault(_cause(e)) from e

    def _check_status(self, response: requests.Response) -> None:
        status = response.status_code
        words = f"the server answered {status} {response.reason or ''}".rstrip()
        if status in (200, 206):
            return
        if status == 416:
            self._forget()
            raise _Fault(f"{words}; what had come of the file is no part of it now")
        if status in _REFUSALS:
            raise _Fault(words, refused=True, wait=_retry_after(response))
        raise errors.DataError(
            f"{self.file.url}: {words}. Check the name of the crawl or the path, "
            "and --mirror."
        )

    def _check_range(self, response: requests.Response, validator: str) -> None:
        """Refuses a part of another file, or another part of the file."""
        headers = response.headers
        match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        start, end, length = map(int, match.groups()) if match else (-1, -1, -1)
        tag = headers.get("ETag", validator)
        is_same = tag == validator or not validator.startswith('"')
        part = (start, end + 1, length)
        if part != (self.done, self.length, self.length) or not is_same:
            self._forget()
            raise _Fault("the server sent another part than the one asked for")

    def _start_over(self, response: requests.Response) -> None:
        """Empties what has come and notes what is coming now."""
        self._forget()
        headers = response.headers
        length = headers.get("Content-Length", "")
        self.length = int(length) if re.fullmatch(r"\d{1,15}", length) else None
        if (self.length or 0) > self.file.max_bytes:
            raise self._too_large()
        tag = headers.get("ETag", "")
        # A weak tag does not promise equal bytes.
        is_strong = re.fullmatch(r'"[\x21\x23-\x7e]{1,256}"', tag)
        validator = tag if is_strong else headers.get("Last-Modified", "")
        origin = {
            "url": self.file.url,
            "validator": validator[:256],
            "length": self.length,
        }
        # Before the first byte: a killed process leaves no part without its origin.
        files.write_text(self._origin, files.to_json(origin))

    def _take(self, response: requests.Response) -> None:
        with open(self._partial, "ab") as file:
            for chunk in _chunks(response):
                file.write(chunk)
                file.flush()  # What a killed process has fetched is kept.
                self.done += len(chunk)
                if self.done > self.file.max_bytes:
                    raise self._too_large()
                self._limiter.check()

    def _check_whole(self) -> None:
        if self.length is not None and self.done != self.length:
            if self.done > self.length:
                self._forget()
            raise _Fault(f"only {self.done:,} of {self.length:,} bytes came")
        fault = gzip_end.fault_of(self._partial)
        if not fault:
            return
        if self.length is None or not self._was_faulty:
            # Without a length, only this shows that a connection was cut.
            self._was_faulty = True
            came = self.done
            self._forget()
            raise _Fault(
                "what came is no gzip file"
                if fault == "no gzip"
                else f"what came, {came:,} bytes, ends in the middle"
            )
        if fault == "no gzip":
            raise errors.DataError(
                f"{self.file.url} is no gzip file, twice. Check --mirror; a proxy "
                "may have sent a page of its own."
            )
        self.warning = "ends in the middle on the server as well; kept as it is"

    def _resumable(self) -> tuple[int, str]:
        """Returns the bytes that need not be fetched again, and their validator."""
        try:
            size = self._partial.stat().st_size
            origin = files.read_json(self._origin)
        except (FileNotFoundError, errors.DataError):
            return 0, ""
        match origin:
            case {"url": self.file.url, "validator": str(tag), "length": int(length)}:
                if tag and 0 < size <= length:
                    self.length = length
                    return size, tag
        return 0, ""

    def _forget(self) -> None:
        with open(self._partial, "wb"):
            self.done = 0

    def _too_large(self) -> errors.DataError:
        self._forget()
        return errors.DataError(
            f"{self.file.url} is larger than the {self.file.max_bytes:,} bytes "
            "that such a file may have. Check --mirror."
        )


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """Yields the body as it comes; a broken connection is a `_Fault`."""
    while True:
        try:
            # Whatever is there: a part that was read stays read when it breaks.
            chunk = response.raw.read1(_CHUNK_BYTES, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _Fault(_cause(error)) from error
        if not chunk:
            return
        yield chunk


def _retry_after(response: requests.Response) -> float:
    """Returns the seconds that the server asks for; 0 where it does not."""
    try:
        seconds = retry.Retry().get_retry_after(response.raw) or 0.0
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return 0.0
    return min(seconds, _LONGEST_RETRY_AFTER_SECONDS)


def _cause(error: BaseException) -> str:
    """Returns the first thing that went wrong, in a few words."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(words)[:200]
