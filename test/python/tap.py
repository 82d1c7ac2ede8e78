"""TAP for the tests in Python: ok, equal, raises, done."""

import sys

count = 0
failed = 0


def ok(good, what):
    global count, failed
    count += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {count} - {what}", flush=True)
    return good


def equal(got, expected, what):
    if not ok(got == expected, what):
        print(f"# got {got!r}\n# expected {expected!r}", file=sys.stderr, flush=True)


def raises(error, pattern, call, what):
    try:
        got = call()
    except error as e:
        if not ok(pattern in str(e), what):
            print(f"# got {e!r}\n# expected {pattern!r}", file=sys.stderr, flush=True)
        return
    ok(False, what)
    print(f"# got {got!r}, expected {error.__name__}", file=sys.stderr, flush=True)


def done():
    print(f"1..{count}", flush=True)
    sys.exit(failed > 0)
