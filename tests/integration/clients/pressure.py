# SPDX-License-Identifier: Apache-2.0
"""Clients that an apiserver has to bear: many connections, slow ones, large ones, ones that never read.

Usage: pressure.py SERVER-URL PKI-DIR PID PART. Ends with 0, or an assertion says what was not as it should be.
"""
import http.client
import itertools
import json
import socket
import ssl
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

PODS = "/api/v1/namespaces/default/pods"
EVENTS = "/api/v1/namespaces/default/events"
WAIT_S = 120  # longer than any bound of the server


class Server:
    def __init__(self, url, pki, pid):
        self.address = (urlsplit(url).hostname, urlsplit(url).port)
        self.pid = pid
        self.context = ssl.create_default_context(cafile=f"{pki}/ca.crt")
        self.context.load_cert_chain(f"{pki}/admin.crt", f"{pki}/admin.key")

    def connect(self, receive=0):
        """receive: bytes of the socket's buffer, set before the window is agreed on; 0 = the system's choice."""
        plain = socket.socket()
        plain.settimeout(WAIT_S)
        if receive:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        plain.connect(self.address)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.context.wrap_socket(plain, server_hostname=self.address[0])

    def memory_mib(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) // 1024


def request(connection, method, path, headers=(), body=b""):
    head = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    connection.sendall("\r\n".join(head).encode() + body)


def answer(connection):
    """Code and headers of the next answer; its body is read."""
    with connection.makefile("rb") as stream:
        line = stream.readline().decode()
        headers = {}
        for raw in iter(stream.readline, b"\r\n"):
            name, _, value = raw.decode().partition(":")
            headers[name.lower()] = value.strip()
        stream.read(int(headers.get("content-length", 0)))
    return int(line.split()[1]), headers


def ask(connection, *arguments, **options):
    request(connection, *arguments, **options)
    return answer(connection)


def is_well(server):
    with server.connect() as connection:
        assert ask(connection, "GET", "/readyz")[0] == 200


def closes(connection):
    """The server ends it, with or without an answer before, sooner or later."""
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except (ConnectionError, ssl.SSLError):
        pass
    return True


def connections(server):
    """--max-user-connections 8: the ninth is told to come again later; one that ends makes room."""
    held = [server.connect() for _ in range(8)]
    for connection in held:
        assert ask(connection, "GET", PODS)[0] == 200
    with server.connect() as one_more:
        code, headers = ask(one_more, "GET", PODS)
        assert (code, headers.get("retry-after")) == (429, "1"), (code, headers)
    held.pop().close()
    for _ in range(200):
        with server.connect() as again:
            if ask(again, "GET", PODS)[0] == 200:
                break
    else:
        raise AssertionError("a closed connection still counts")
    for connection in held:
        connection.close()


def header(server):
    """Request line and headers have a bound."""
    with server.connect() as connection:
        try:
            code, _ = ask(connection, "GET", PODS, headers=["X: " + "x" * 40000])
        except (ConnectionError, ssl.SSLError):
            code = None  # cut off while it was still being sent
        assert code in (None, 400, 413, 431), code
    with server.connect() as connection:
        code, _ = ask(connection, "GET", PODS + "?labelSelector=" + "x" * 20000)
        assert code == 414, code
    is_well(server)


def slow(server):
    """A header or body that stops in the middle ends after a bound; nobody else notices meanwhile."""
    header_less, body_less = server.connect(), server.connect()
    header_less.sendall(b"GET /api HTTP/1.1\r\nX-Begun: ")
    request(body_less, "GET", "/readyz")
    assert answer(body_less)[0] == 200
    body_less.sendall(f"POST {PODS} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{".encode())
    for _ in range(20):
        is_well(server)
    assert closes(body_less), "a body that does not come is waited for"
    assert closes(header_less), "a header that does not come is waited for"


def unread(server):
    """Watchers that never read cost no memory, and are cut off; the writers go on."""
    deaf = [server.connect() for _ in range(4)]
    for connection in deaf:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request(connection, "GET", EVENTS + "?watch=1")
    before = server.memory_mib()
    with server.connect() as writer:
        for i in range(1000):
            event = {"metadata": {"name": f"e{i % 20}"}, "involvedObject": {"kind": "Pod", "name": "x"},
                     "message": str(i) + "m" * 20000}
            code, _ = ask(writer, "PUT" if i >= 20 else "POST", EVENTS + (f"/e{i % 20}" if i >= 20 else ""),
                          body=json.dumps(event).encode())
            assert code in (200, 201), code
        grown = server.memory_mib() - before
        assert grown < 40, f"{grown} MiB for 4 times 20 MB that nobody read"
        assert ask(writer, "DELETE", EVENTS)[0] == 200
    for connection in deaf:
        connection.close()
    is_well(server)


def drips(connection, text):
    """Sends byte by byte until the server cuts it off."""
    end = time.monotonic() + WAIT_S
    try:
        for byte in itertools.cycle(text):
            connection.sendall(bytes([byte]))
            time.sleep(0.1)  # the client's pace
            assert time.monotonic() < end, "a request that comes drop by drop is waited for"
    except (ConnectionError, ssl.SSLError, TimeoutError):
        pass


def trickle(server):
    """Libmicrohttpd's own timeout begins anew with each byte; --request-timeout does not."""
    body = server.connect()
    body.sendall(f"POST {PODS} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{{".encode())
    header = server.connect()
    header.sendall(b"GET /api HTTP/1.1\r\nX-Begun: ")
    line = server.connect()
    line.sendall(b"GET /")
    with ThreadPoolExecutor() as pool:
        done = [pool.submit(drips, connection, b"x") for connection in (body, header, line)]
        for future in done:
            is_well(server)
            future.result()
    is_well(server)


def fill(server, count, size):
    """Events of a size, and the resourceVersion of each, in order."""
    versions = []
    with server.connect() as writer:
        for i in range(count):
            event = {"metadata": {"name": f"big-{i}"}, "involvedObject": {"kind": "Pod", "name": "x"},
                     "message": "m" * size}
            code, text = whole(writer, "POST", EVENTS, json.dumps(event).encode())
            assert code == 201, text
            versions.append(json.loads(text)["metadata"]["resourceVersion"])
    return versions


def whole(connection, method, path, body=b""):
    request(connection, method, path, body=body)
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    return response.status, response.read()


def deaf(server):
    """More than the socket's buffers hold: --max-answers bounds what waits, --request-timeout ends it."""
    fill(server, 600, 20000)
    reader = server.connect(receive=4096)
    request(reader, "GET", EVENTS)
    reader.recv(1)
    with server.connect() as another:
        code, text = whole(another, "GET", EVENTS)
        assert code == 429 and b"--max-answers" in text, (code, text[:200])
        assert whole(another, "GET", EVENTS + "/big-1")[0] == 200
        assert until(lambda: whole(another, "GET", EVENTS + "?limit=1")[0] == 200), "an answer is held for ever"
        assert whole(another, "DELETE", EVENTS)[0] == 200
    reader.close()


def until(condition):
    end = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def watches(server):
    with server.connect() as connection:
        text = whole(connection, "GET", "/metrics")[1].decode()
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("alkaid_http_watches "))


def events_of(stream):
    """Of a watch whose beginning may be all that there is: the lines that are whole."""
    raw = b""
    try:
        while piece := stream.recv(65536):
            raw += piece
    except (ConnectionError, ssl.SSLError):
        pass
    chunks = raw.partition(b"\r\n\r\n")[2]
    body = b""
    while chunks:
        size, _, chunks = chunks.partition(b"\r\n")
        length = int(size or b"0", 16)
        body += chunks[:length]
        chunks = chunks[length + 2:]
    return [json.loads(line) for line in body.split(b"\n")[:-1]]


def stalled(server):
    """--watch-stall-timeout: twenty watches of which nobody reads a byte, while 12 MB are written."""
    start = whole_version(server)
    sleepers = [server.connect(receive=4096) for _ in range(20)]
    for connection in sleepers:
        request(connection, "GET", f"{EVENTS}?watch=1&resourceVersion={start}")
    assert until(lambda: watches(server) == 20)
    before = server.memory_mib()
    versions = fill(server, 600, 20000)
    grown = server.memory_mib() - before
    assert grown < 80, f"{grown} MiB for 12 MB of events and 20 watches that do not read"
    assert until(lambda: watches(server) == 0), "a watch that does not read is kept"
    got = [event["object"]["metadata"]["resourceVersion"] for event in events_of(sleepers[0])]
    assert got == versions[:len(got)] and len(got) < 600, (len(got), got[-1:])
    last = got[-1] if got else start
    with server.connect() as connection:
        request(connection, "GET", f"{EVENTS}?watch=1&resourceVersion={last}")
        rest = versions_of(connection, len(versions) - len(got))
    assert got + rest == versions, (len(got), len(rest))
    with server.connect() as connection:
        assert whole(connection, "DELETE", EVENTS)[0] == 200
    for connection in sleepers:
        connection.close()


def whole_version(server):
    with server.connect() as connection:
        return json.loads(whole(connection, "GET", EVENTS + "?limit=1")[1])["metadata"]["resourceVersion"]


def versions_of(connection, count):
    response = http.client.HTTPResponse(connection, method="GET")
    response.begin()
    return [json.loads(response.readline())["object"]["metadata"]["resourceVersion"] for _ in range(count)]


def inflight(server):
    """--max-inflight 2: of many writes at once some are told to come again later, and no acknowledged one is lost."""
    codes, lock = [], threading.Lock()

    def write(number):
        with server.connect() as connection:
            for i in range(100):
                event = {"metadata": {"name": f"w{number}-{i}"}, "involvedObject": {"kind": "Pod", "name": "x"}}
                code, headers = ask(connection, "POST", EVENTS, body=json.dumps(event).encode())
                assert code == 201 or (code, headers.get("retry-after")) == (429, "1"), code
                with lock:
                    codes.append((code, f"w{number}-{i}"))

    writers = [threading.Thread(target=write, args=[n]) for n in range(7)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(codes) == 700, "a writer failed"
    assert any(code == 429 for code, _ in codes) and any(code == 201 for code, _ in codes)
    with server.connect() as connection:
        for code, name in codes:
            assert ask(connection, "GET", f"{EVENTS}/{name}")[0] == (200 if code == 201 else 404), name


def main():
    url, pki, pid, part = sys.argv[1:]
    {f.__name__: f for f in (connections, header, slow, unread, inflight, trickle, deaf, stalled)}[part](Server(url, pki, pid))


if __name__ == "__main__":
    main()
