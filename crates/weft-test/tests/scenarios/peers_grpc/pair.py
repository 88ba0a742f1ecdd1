"""A gRPC server and its client without generated code: messages are bytes.

`serve` listens on a free port of loopback, which it writes first. `call PORT NAME` calls through a sidecar.
"""

import sys
import threading
import time
from concurrent import futures

import grpc

SERVICE = "weft.test.Pair"


def echo(request, context):
    seen = dict(context.invocation_metadata())
    context.send_initial_metadata((("seen", seen.get("x-sent", "")), ("bytes-bin", seen.get("x-sent-bin", b""))))
    context.set_trailing_metadata((("x-trailer", "at the end"),))
    return request


def fail(request, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: \u00e9\n%")


def sleep(request, context):
    wait_for_the_end(context)
    return request


def wait_for_the_end(context):
    over = threading.Event()
    context.add_callback(over.set)
    over.wait(20)
    print("ended early" if over.is_set() else "waited in vain", flush=True)


def count(request, context):
    for number in range(int(request)):
        yield str(number).encode()


def total(requests, context):
    return str(sum(len(request) for request in requests)).encode()


def chat(requests, context):
    for request in requests:
        yield request.upper()


def endless(request, context):
    yield b"first"
    wait_for_the_end(context)


def serve():
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Sleep": grpc.unary_unary_rpc_method_handler(sleep),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Sum": grpc.stream_unary_rpc_method_handler(total),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
        "Endless": grpc.unary_stream_rpc_method_handler(endless),
    }
    server = grpc.server(futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


def fails(code, run):
    try:
        run()
    except grpc.RpcError as error:
        assert error.code() == code, (error.code(), error.details())
        return error
    raise AssertionError(f"expected {code}")


def call(port, name):
    options = [("grpc.default_authority", name + ":" + port), ("grpc.enable_retries", 0)]
    channel = grpc.insecure_channel("127.0.0.1:" + port, options)
    path = "/" + SERVICE + "/"

    reply, done = channel.unary_unary(path + "Echo").with_call(
        b"hello", timeout=10, metadata=(("x-sent", "by caller"), ("x-sent-bin", b"\x00\xff\x80"))
    )
    assert reply == b"hello"
    first, last = dict(done.initial_metadata()), dict(done.trailing_metadata())
    assert first["seen"] == "by caller" and first["bytes-bin"] == b"\x00\xff\x80", first
    assert last["x-trailer"] == "at the end", last

    large = bytes(range(256)) * 12_000
    assert channel.unary_unary(path + "Echo")(large, timeout=20) == large
    assert channel.unary_unary(path + "Echo")(b"", timeout=10) == b""

    error = fails(grpc.StatusCode.FAILED_PRECONDITION, lambda: channel.unary_unary(path + "Fail")(b"", timeout=10))
    assert error.details() == "not now: \u00e9\n%", error.details()
    fails(grpc.StatusCode.UNIMPLEMENTED, lambda: channel.unary_unary(path + "Nothing")(b"", timeout=10))

    began = time.monotonic()
    fails(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: channel.unary_unary(path + "Sleep")(b"", timeout=0.3))
    assert time.monotonic() - began < 5

    numbers = list(channel.unary_stream(path + "Count")(b"1000", timeout=20))
    assert numbers == [str(number).encode() for number in range(1000)]
    assert channel.stream_unary(path + "Sum")((b"x" * 1000 for _ in range(500)), timeout=20) == b"500000"

    # Each word is answered before the next one is said.
    said, heard = threading.Semaphore(1), []

    def words():
        for word in (b"one", b"two", b"three"):
            said.acquire()
            yield word

    for answer in channel.stream_stream(path + "Chat")(words(), timeout=20):
        heard.append(answer)
        said.release()
    assert heard == [b"ONE", b"TWO", b"THREE"], heard

    endless_call = channel.unary_stream(path + "Endless")(b"", timeout=20)
    assert next(endless_call) == b"first"
    endless_call.cancel()
    fails(grpc.StatusCode.CANCELLED, lambda: next(endless_call))

    # Many at once on one connection.
    many = [channel.unary_unary(path + "Echo").future(str(i).encode(), timeout=20) for i in range(200)]
    assert [one.result() for one in many] == [str(i).encode() for i in range(200)]

    # A failure of the mesh is a gRPC status.
    nowhere = grpc.insecure_channel("127.0.0.1:" + port, [("grpc.default_authority", name + ":none")])
    error = fails(grpc.StatusCode.UNIMPLEMENTED, lambda: nowhere.unary_unary(path + "Echo")(b"", timeout=10))
    assert "none" in error.details(), error.details()
    print("grpcio", grpc.__version__, "well")


if sys.argv[1] == "serve":
    serve()
else:
    call(sys.argv[2], sys.argv[3])
