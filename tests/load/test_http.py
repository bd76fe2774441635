"""Clients that speak HTTP badly, or well but differently: each gets the answer it can read."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import pytest

from tests.load.answers import World
from tests.load.servers import Service, served

HOST = b"Host: localhost\r\n"
CLOSE = b"Connection: close\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAA\r\n"
LIVE = b"GET /livez HTTP/1.1\r\n" + HOST
PATIENCE_S = 20


def talk(port: int, *parts: bytes, end: bool = False, pause: float = 0.0) -> bytes:
    """Send the parts, close the own side where ``end``, and read until the service closes."""
    with closing(socket.create_connection(("127.0.0.1", port), PATIENCE_S)) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        if end:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while more := connection.recv(1 << 16):
            answer += more
        return answer


def statuses(answer: bytes) -> list[int]:
    """Of all final answers."""
    lines = (part.split(b" ", 2) for part in answer.split(b"HTTP/1.1 ")[1:])
    return [int(status) for status, *_ in lines if not status.startswith(b"1")]


@pytest.fixture(scope="module")
def image(tiny: World) -> bytes:
    (wanted,) = tiny.asks(1)
    return wanted.request.partition(b"\r\n\r\n")[2]


def posted(image: bytes, *headers: bytes, path: bytes = b"/classify") -> bytes:
    head = b"POST %s HTTP/1.1\r\n%sContent-Type: image/png\r\n" % (path, HOST)
    return head + b"".join(headers) + b"Content-Length: %d\r\n\r\n" % len(image) + image


def chunked(image: bytes, *headers: bytes, trailer: bytes = b"") -> bytes:
    head = b"POST /classify HTTP/1.1\r\n" + HOST + b"Content-Type: image/png\r\n"
    parts = [image[at : at + 100] for at in range(0, len(image), 100)]
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return (
        head + b"".join(headers) + b"Transfer-Encoding: chunked\r\n\r\n" + body
        + b"0\r\n" + trailer + b"\r\n"
    )  # fmt: skip


ACCEPTED: dict[str, Callable[[bytes], Sequence[bytes]]] = {
    "h2c offered, a length": lambda image: [posted(image, H2C)],
    "h2c offered, chunks": lambda image: [chunked(image, H2C)],
    "h2c offered, byte by byte": lambda image: [bytes([b]) for b in posted(image, H2C)],
    "h2c offered, chunks, byte by byte": lambda image: [bytes([b]) for b in chunked(image, H2C)],
    "h2c offered, head and body apart": lambda image: posted(image, H2C).partition(image)[:2],
    "websocket offered": lambda image: [
        posted(image, b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n")
    ],
    "TLS offered (RFC 2817)": lambda image: [
        posted(image, b"Connection: Upgrade\r\nUpgrade: TLS/1.2, HTTP/1.1\r\n")
    ],
    "an upgrade without a Connection header": lambda image: [posted(image, b"Upgrade: h2c\r\n")],
    "trailers": lambda image: [chunked(image, trailer=b"X-Checksum: 1\r\nHost: other\r\n")],
    "a target with scheme and host": lambda image: [
        posted(image, path=b"http://localhost/classify")
    ],
    "a target of another host": lambda image: [
        posted(image, path=b"http://a.b:80/classify?top_k=2")
    ],
    "HTTP/1.0 without Host": lambda image: [
        b"POST /classify HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(image) + image
    ],
    "HTTP/1.0 that expects": lambda image: [
        b"POST /classify HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n%s"
        % (len(image), image)
    ],
    "empty lines before the request": lambda image: [b"\r\n\r\n" + posted(image)],
    "a head of 40 kB": lambda image: [posted(image, b"Cookie: " + b"a" * 40_000 + b"\r\n")],
    "a Host with a port, in capitals": lambda image: [
        posted(image).replace(HOST, b"HOST: LOCALHOST:80\r\n")
    ],
    "a Host that is an IPv6 address": lambda image: [
        posted(image).replace(HOST, b"Host: [::1]:80\r\n")
    ],
}


@pytest.mark.parametrize("name", list(ACCEPTED))
def test_unusual_clients_are_answered(tiny_service: Service, image: bytes, name: str) -> None:
    *before, last = ACCEPTED[name](image)
    answer = talk(tiny_service.port, *before, last, LIVE + CLOSE + b"\r\n")
    assert statuses(answer)[0] == 200, answer[:300]
    assert b"100 Continue" not in answer
    if "1.0" not in name:
        assert statuses(answer) == [200, 200], "what follows on the connection was lost"


REFUSED = {
    "no Host": (b"GET /livez HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (LIVE + HOST + b"\r\n", 400),
    "an empty Host": (b"GET /livez HTTP/1.1\r\nHost:\r\n\r\n", 400),
    "a Host with a path": (b"GET /livez HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "a Host list": (b"GET /livez HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
    "two Hosts in HTTP/1.0": (b"GET /livez HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "a head of 100 kB in one header": (LIVE + b"A: " + b"a" * 100_000 + b"\r\n\r\n", 431),
    "a head of 100 kB in many headers": (LIVE + b"A: b\r\n" * 20_000 + b"\r\n", 431),
    "a thousand short headers": (LIVE + b"A: b\r\n" * 1_000 + b"\r\n", 431),
    "a target of 100 kB": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
    "a header name of 300 kB": (LIVE + b"A" * 300_000 + b": b\r\n\r\n", 431),
    "a header that never ends": (LIVE + b"A: " + b"a" * 2_000_000, 431),
    "empty lines without end": (b"\r\n" * 500_000, 431),
    "CONNECT": (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 400),
    "a target that is no path": (b"GET foo://x HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "HTTP/0.9": (b"GET /livez\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "chunks in HTTP/1.0": (
        b"POST /classify HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400
    ),
    "another transfer encoding": (
        b"POST /classify HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n",
        400,
    ),
    "two content types": (
        b"POST /classify HTTP/1.1\r\n" + HOST
        + b"Content-Type: image/png\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n",
        400,
    ),
    "two keys": (LIVE + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64, 400),
    "a bare line feed": (b"GET /livez HTTP/1.1\nHost: a\n\n", 400),
    "a folded header": (LIVE + b"A: b\r\n c\r\n\r\n", 400),
    "trailers without end": (
        b"POST /classify HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
        + b"A: b\r\n" * 100_000, 431
    ),
    "a chunk extension without end": (
        b"POST /classify HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1;a="
        + b"b" * 500_000, 431
    ),
    "Expect for more than is accepted": (
        b"POST /classify HTTP/1.1\r\n" + HOST
        + b"Expect: 100-continue\r\nContent-Type: image/png\r\nContent-Length: 999000000\r\n\r\n",
        413,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_no_http_is_refused_with_a_problem(tiny_service: Service, name: str) -> None:
    """In the form that every refusal has, once, and the connection ends."""
    request, status = REFUSED[name]
    counted = tiny_service.series().total("spikeserve_requests_total", code=str(status))
    answer = talk(tiny_service.port, request, end=True)
    assert statuses(answer) == [status], answer[:300]
    assert b"100 Continue" not in answer
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"x-request-id: " in head
    assert b'"request_id"' in body
    assert tiny_service.series().total("spikeserve_requests_total", code=str(status)) > counted


def test_a_refusal_waits_for_the_answers_before_it(tiny_service: Service, image: bytes) -> None:
    """Answers are told apart by their order alone."""
    garbage = b"\0\xff\xfe nonsense\r\n\r\n"
    answer = talk(tiny_service.port, posted(image) * 5 + garbage)
    assert statuses(answer) == [200] * 5 + [400]
    broken = chunked(image).replace(b"64\r\n", b"zz\r\n", 1)
    assert statuses(talk(tiny_service.port, posted(image) + broken)) == [200, 400]


def test_a_broken_rest_of_an_answered_request_gets_no_second_answer(tiny_service: Service) -> None:
    head = b"POST /livez HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    assert statuses(talk(tiny_service.port, head, b"zz\r\n", pause=0.1)) == [405]


@pytest.mark.parametrize("mb", [6, 12])
@pytest.mark.parametrize(
    "path", [b"/classify?top_k=0", b"/classify", b"/nothing", b"/livez", b"/v2/models/x/infer"]
)
def test_a_refusal_reaches_a_client_that_still_sends(
    tiny_service: Service, path: bytes, mb: int
) -> None:
    """A reset would take it along."""
    body = b"a" * (mb << 20)
    request = posted(body, CLOSE, path=path).replace(b"image/png", b"text/html")
    for _ in range(3):
        (status,) = statuses(talk(tiny_service.port, request))
        assert 400 <= status < 500


@pytest.mark.parametrize(
    "path",
    [
        *(b"/livez", b"/readyz", b"/metrics", b"/v2/health/live", b"/v2/health/ready"),
        *(b"/v2", b"/v1/models", b"/openapi.json", b"/", b"/page/style.css"),
    ],
)
def test_head_is_get_without_a_body(tiny_service: Service, path: bytes) -> None:
    get = talk(tiny_service.port, b"GET " + path + b" HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")
    head = talk(tiny_service.port, b"HEAD " + path + b" HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")
    assert statuses(head) == statuses(get) == [200]
    assert head.endswith(b"\r\n\r\n")
    names = [line.partition(b":")[0] for line in get.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    assert [line.partition(b":")[0] for line in head.split(b"\r\n")[1:-2]] == names


@pytest.mark.parametrize(
    "path",
    [
        *("..", "../routes/page.py", "../../README.md", "..%2fapp.py", "%2e%2e/app.py"),
        *(
            "%2e%2e%2fapp.py",
            "%252e%252e%252fapp.py",
            "..%5capp.py",
            "..\\app.py",
            "%c0%ae/x",
        ),
        *("./style.css", "x/../style.css", "/style.css", "style.css/", "style.css%00", "%00"),
        *("/etc/passwd", "%2fetc/passwd", "//etc/passwd", "file:///etc/passwd", "", "STYLE.CSS"),
    ],
)
def test_no_path_leads_out_of_the_pages_folder(tiny_service: Service, path: str) -> None:
    def asked(name: str) -> list[int]:
        line = f"GET /page/{name} HTTP/1.1\r\n".encode()
        return statuses(talk(tiny_service.port, line + HOST + CLOSE + b"\r\n"))

    assert asked(path) == [404]
    assert asked("style.css") == [200]


def test_head_is_among_the_methods_that_are_allowed(tiny_service: Service) -> None:
    answer = talk(tiny_service.port, b"PUT /livez HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")
    assert statuses(answer) == [405]
    assert b"allow: GET, HEAD" in answer


@pytest.mark.parametrize("times", [1, 3])
def test_a_client_that_closes_its_own_side_is_answered(
    tiny_service: Service, image: bytes, times: int
) -> None:
    for _ in range(30):
        answer = talk(tiny_service.port, posted(image) * times, end=True)
        assert statuses(answer) == [200] * times
        answer = talk(tiny_service.port, posted(image, path=b"/classify/stream"), end=True)
        assert b"event: result" in answer


@pytest.fixture(scope="module")
def crowded(tiny: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("crowded")
    flags = ("--max-connections", "64", "--body-timeout-seconds", "1")
    with served(tiny.folder, folder, *flags) as service:
        yield service


CROWDS = {
    "that say nothing": b"",
    "with half a head": LIVE + b"X-Slow: ",
    "with half a body": b"POST /classify HTTP/1.1\r\n" + HOST + b"Content-Length: 1000\r\n\r\nabc",
    "with half a body that nobody wants": b"POST /nothing HTTP/1.1\r\n" + HOST
    + b"Content-Length: 1000\r\n\r\nabc",
    "that were answered": LIVE + b"\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", list(CROWDS))
def test_a_crowd_of_connections_keeps_nobody_out(crowded: Service, image: bytes, name: str) -> None:
    held = []
    try:
        for _ in range(300):
            connection = socket.create_connection(("127.0.0.1", crowded.port), PATIENCE_S)
            held.append(connection)
            connection.sendall(CROWDS[name])
        for _ in range(10):
            assert statuses(talk(crowded.port, LIVE + CLOSE + b"\r\n")) == [200]
        assert statuses(talk(crowded.port, posted(image, CLOSE))) == [200]
        assert crowded.series().total("spikeserve_connections") <= 64 + 32
    finally:
        for connection in held:
            connection.close()
