# SPDX-License-Identifier: Apache-2.0
"""TCP ports that nobody else gets while a test runs: they stay bound, without listening, until the test ends. The
program that is given one binds it, too, since both sides set SO_REUSEADDR and only one listens."""
import socket

KEPT = []


def bound(port):
    """The port (0: any) on all addresses of both families, as the kernel's choice for others avoids it."""
    try:
        s = socket.socket(socket.AF_INET6)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        everywhere = '::'
    except OSError:  # a host without IPv6
        s = socket.socket()
        everywhere = ''
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind((everywhere, port))
    except OSError:
        s.close()
        raise
    return s


def port_kept(count=1):
    """The first of count ports in a row."""
    while True:
        kept = [bound(0)]
        first = kept[0].getsockname()[1]
        try:
            kept += [bound(first + i) for i in range(1, count)]
        except (OSError, OverflowError):  # somebody has it, or there is none after the last
            KEPT.append(kept[0])  # the next try gets another
            continue
        KEPT.extend(kept)
        return first
