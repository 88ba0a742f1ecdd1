//! RFC 9113, sections 3 to 6, from a server's side: the preface, frames, streams, settings and windows.

use super::cases::{Caller, Case, Client, STREAM, good_reply, then_replies, wrong};
use super::wire::{
    ACK, CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, GOAWAY, HEADERS, INTERNAL_ERROR, NO_ERROR, NO_FLAGS,
    PADDED, PING, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE, REFUSED_STREAM, RST_STREAM, SETTINGS,
    STATUS_200, UNKNOWN, WINDOW_UPDATE, WITH_PRIORITY, data, field, frame, frame_saying, goaway,
    headers, reset, setting, settings, window,
};

const PROTOCOL: Client = Client::EndsConnection(&[PROTOCOL_ERROR]);
const SIZE: Client = Client::EndsConnection(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR]);
const FLOW: Client = Client::EndsConnection(&[FLOW_CONTROL_ERROR]);

pub(super) fn all() -> Vec<Case> {
    [
        preface(),
        frames(),
        streams(),
        data_frames(),
        headers_frames(),
        resets(),
        settings_frames(),
        pushes_and_pings(),
        goaways(),
        windows(),
        continuations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// 3.4: a server's preface is a SETTINGS frame, the first one.
fn preface() -> Vec<Case> {
    let begins = |name, bytes: Vec<u8>| {
        let bytes = [bytes, settings(&[])].concat();
        Case::before("3.4", name, bytes, PROTOCOL, Caller::Fails)
    };
    let other = |name, bytes: &[u8]| {
        let client = Client::EndsConnection(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR]);
        Case::before("3.4", name, bytes.to_vec(), client, Caller::Fails)
    };
    vec![
        begins("PING before SETTINGS", frame(PING, NO_FLAGS, 0, &[7; 8])),
        begins("WINDOW_UPDATE before SETTINGS", window(0, 100)),
        begins("HEADERS before SETTINGS", headers(STREAM, 0, STATUS_200)),
        begins("DATA before SETTINGS", data(STREAM, 0, b"x")),
        other(
            "an HTTP/1.1 reply instead of a preface",
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        ),
        other(
            "an SSH banner instead of a preface",
            b"SSH-2.0-OpenSSH_9.2\r\n",
        ),
        other("bytes of 0xff", &[0xff; 64]),
        Case {
            after: Vec::new(),
            ..Case::before(
                "3.4",
                "closed instead of a preface",
                Vec::new(),
                Client::Any,
                Caller::Fails,
            )
        }
        .and_closes(),
    ]
}

/// 4.1, 4.2, 5.5: what is unknown is ignored, what is too long is not.
fn frames() -> Vec<Case> {
    let goes = |section, name, bytes| {
        Case::after(
            section,
            name,
            then_replies(bytes),
            Client::GoesOn,
            Caller::Gets(200),
        )
    };
    // More than a client here allows: it may have said more than the smallest value.
    let long = vec![0; 1_000_001];
    let length = |name, kind, stream, payload: &[u8]| {
        Case::after(
            "4.2",
            name,
            wrong(kind, NO_FLAGS, stream, payload),
            SIZE,
            Caller::Fails,
        )
    };
    vec![
        goes(
            "4.1",
            "an unknown type on the connection",
            frame(UNKNOWN, 0xff, 0, b"what"),
        ),
        goes(
            "4.1",
            "an unknown type on the stream",
            frame(UNKNOWN, 0, STREAM, b"what"),
        ),
        goes(
            "4.1",
            "an unknown type on an idle stream",
            frame(UNKNOWN, 0, 77, b"what"),
        ),
        goes(
            "4.1",
            "an unknown type without payload",
            frame(UNKNOWN, 0, 0, b""),
        ),
        goes(
            "4.1",
            "flags that PING does not know",
            frame(PING, 0xfe, 0, &[3; 8]),
        ),
        goes(
            "4.1",
            "the reserved bit set",
            frame(PING, 0, 0x8000_0000, &[3; 8]),
        ),
        Case::after(
            "4.2",
            "DATA longer than was allowed",
            [
                headers(STREAM, 0, STATUS_200),
                data(STREAM, END_STREAM, &long),
            ]
            .concat(),
            SIZE,
            Caller::IsCut,
        ),
        length("HEADERS longer than was allowed", HEADERS, STREAM, &long),
        length("an unknown type longer than was allowed", UNKNOWN, 0, &long),
        length("PING of 7 bytes", PING, 0, &[0; 7]),
        length("PING of 9 bytes", PING, 0, &[0; 9]),
        length("SETTINGS of 5 bytes", SETTINGS, 0, &[0; 5]),
        length("RST_STREAM of 5 bytes", RST_STREAM, STREAM, &[0; 5]),
        length("RST_STREAM of 3 bytes", RST_STREAM, STREAM, &[0; 3]),
        length("WINDOW_UPDATE of 3 bytes", WINDOW_UPDATE, 0, &[0; 3]),
        length(
            "WINDOW_UPDATE of 5 bytes on the stream",
            WINDOW_UPDATE,
            STREAM,
            &[0; 5],
        ),
        length("GOAWAY of 7 bytes", GOAWAY, 0, &[0; 7]),
        Case::after(
            "4.2",
            "a head that promises more than was allowed",
            frame_saying(0x00ff_ffff, DATA, NO_FLAGS, STREAM, b"x"),
            SIZE,
            Caller::Fails,
        ),
    ]
}

/// 5.1: which frames may come when.
fn streams() -> Vec<Case> {
    let idle = |name, bytes| Case::after("5.1", name, then_replies(bytes), PROTOCOL, Caller::Fails);
    let over = |name, bytes| {
        let after = [good_reply(STREAM), bytes].concat();
        // A connection error is allowed, and so is ignoring it (5.1, closed).
        Case::after("5.1", name, after, Client::Any, Caller::Gets(200))
    };
    let late = |name, bytes| {
        let after = [good_reply(STREAM), bytes].concat();
        Case::after("5.1", name, after, Client::GoesOn, Caller::Gets(200))
    };
    vec![
        idle("DATA on an idle stream", data(3, 0, b"x")),
        idle("HEADERS on an idle stream", headers(3, 0, STATUS_200)),
        idle("RST_STREAM on an idle stream", reset(3, CANCEL)),
        idle("WINDOW_UPDATE on an idle stream", window(3, 10)),
        idle("HEADERS on an even stream", headers(2, 0, STATUS_200)),
        idle("DATA on an even stream", data(2, 0, b"x")),
        over("DATA after the end of the stream", data(STREAM, 0, b"x")),
        over(
            "HEADERS after the end of the stream",
            headers(STREAM, END_STREAM, STATUS_200),
        ),
        late(
            "WINDOW_UPDATE after the end of the stream",
            window(STREAM, 10),
        ),
        late(
            "RST_STREAM after the end of the stream",
            reset(STREAM, NO_ERROR),
        ),
        late(
            "PRIORITY after the end of the stream",
            frame(PRIORITY, 0, STREAM, &[0, 0, 0, 0, 9]),
        ),
        Case::after(
            "5.3",
            "PRIORITY on the stream",
            wrong(PRIORITY, 0, STREAM, &[0, 0, 0, 0, 9]),
            Client::GoesOn,
            Caller::Gets(200),
        ),
        Case::after(
            "5.3",
            "PRIORITY on an idle stream",
            wrong(PRIORITY, 0, 99, &[0, 0, 0, 1, 9]),
            Client::GoesOn,
            Caller::Gets(200),
        ),
        Case::after(
            "6.3",
            "PRIORITY on the connection",
            wrong(PRIORITY, 0, 0, &[0, 0, 0, 1, 9]),
            PROTOCOL,
            Caller::Fails,
        ),
    ]
}

/// 6.1
fn data_frames() -> Vec<Case> {
    let padded = [&[3][..], b"hello", &[0; 3]].concat();
    let reply = |frame: Vec<u8>| [headers(STREAM, 0, STATUS_200), frame].concat();
    vec![
        Case::after(
            "6.1",
            "DATA on the connection",
            wrong(DATA, 0, 0, b"x"),
            PROTOCOL,
            Caller::Fails,
        ),
        Case::after(
            "6.1",
            "DATA with padding",
            reply(data(STREAM, PADDED | END_STREAM, &padded)),
            Client::GoesOn,
            Caller::Gets(200),
        ),
        Case::after(
            "6.1",
            "padding as long as the payload",
            reply(data(STREAM, PADDED | END_STREAM, &[6, 0, 0, 0, 0, 0])),
            PROTOCOL,
            Caller::IsCut,
        ),
        Case::after(
            "6.1",
            "padding without its length",
            reply(data(STREAM, PADDED | END_STREAM, &[])),
            SIZE,
            Caller::IsCut,
        ),
        Case::after(
            "6.1",
            "empty DATA before the last one",
            reply([data(STREAM, 0, b""), data(STREAM, END_STREAM, b"hello")].concat()),
            Client::GoesOn,
            Caller::Gets(200),
        ),
    ]
}

/// 6.2
fn headers_frames() -> Vec<Case> {
    let body = data(STREAM, END_STREAM, b"hello");
    let padded = [&[2][..], STATUS_200, &[0; 2]].concat();
    let prioritized = [&[0, 0, 0, 0, 20][..], STATUS_200].concat();
    let of = |section: &str, frame: Vec<u8>, client, caller| {
        let after = [frame, body.clone()].concat();
        Case::after("6.2", section, after, client, caller)
    };
    vec![
        of(
            "HEADERS on the connection",
            headers(0, 0, STATUS_200),
            PROTOCOL,
            Caller::Fails,
        ),
        of(
            "HEADERS with padding",
            headers(STREAM, PADDED, &padded),
            Client::GoesOn,
            Caller::Gets(200),
        ),
        of(
            "HEADERS with a priority",
            headers(STREAM, WITH_PRIORITY, &prioritized),
            Client::GoesOn,
            Caller::Gets(200),
        ),
        of(
            "padding longer than the rest",
            headers(STREAM, PADDED, &[9, 0x88]),
            PROTOCOL,
            Caller::Fails,
        ),
        of(
            "a priority that is cut",
            headers(STREAM, WITH_PRIORITY, &[0, 0]),
            SIZE,
            Caller::Fails,
        ),
    ]
}

/// 6.4
fn resets() -> Vec<Case> {
    let mut cases = vec![Case::after(
        "6.4",
        "RST_STREAM on the connection",
        wrong(RST_STREAM, 0, 0, &[0, 0, 0, 8]),
        PROTOCOL,
        Caller::Fails,
    )];
    for (name, code) in [
        ("NO_ERROR", NO_ERROR),
        ("PROTOCOL_ERROR", PROTOCOL_ERROR),
        ("INTERNAL_ERROR", INTERNAL_ERROR),
        ("CANCEL", CANCEL),
        ("ENHANCE_YOUR_CALM", ENHANCE_YOUR_CALM),
        ("a code that no document defines", 0xdead_beef),
    ] {
        cases.push(Case::after(
            "6.4",
            &format!("reset instead of a reply, {name}"),
            reset(STREAM, code),
            Client::GoesOn,
            Caller::Fails,
        ));
    }
    cases.push(Case::after(
        "8.7",
        "REFUSED_STREAM instead of a reply",
        reset(STREAM, REFUSED_STREAM),
        Client::GoesOn,
        Caller::Clean,
    ));
    let begun = [headers(STREAM, 0, STATUS_200), data(STREAM, 0, b"hel")].concat();
    for (name, code) in [("CANCEL", CANCEL), ("NO_ERROR", NO_ERROR)] {
        cases.push(Case::after(
            "6.4",
            &format!("reset within the body, {name}"),
            [begun.clone(), reset(STREAM, code)].concat(),
            Client::GoesOn,
            Caller::IsCut,
        ));
    }
    cases.push(
        Case::after(
            "5.4",
            "closed within the body",
            begun,
            Client::Any,
            Caller::IsCut,
        )
        .and_closes(),
    );
    cases.push(
        Case::after(
            "5.4",
            "closed instead of a reply",
            Vec::new(),
            Client::Any,
            Caller::Fails,
        )
        .and_closes(),
    );
    cases
}

/// 6.5
fn settings_frames() -> Vec<Case> {
    let says = |name, id, value, client, caller| {
        Case::after(
            "6.5.2",
            name,
            then_replies(settings(&[(id, value)])),
            client,
            caller,
        )
    };
    let wrongly = |name, id, value, client| says(name, id, value, client, Caller::Fails);
    let fine = |name, id, value| says(name, id, value, Client::GoesOn, Caller::Gets(200));
    vec![
        Case::after(
            "6.5",
            "SETTINGS on the stream",
            wrong(SETTINGS, 0, STREAM, &[]),
            PROTOCOL,
            Caller::Fails,
        ),
        Case::after(
            "6.5",
            "an acknowledgement with settings in it",
            wrong(SETTINGS, ACK, 0, &setting(3, 100)),
            SIZE,
            Caller::Fails,
        ),
        wrongly("ENABLE_PUSH of 2", 2, 2, PROTOCOL),
        wrongly("ENABLE_PUSH of 1 from a server", 2, 1, PROTOCOL),
        fine("ENABLE_PUSH of 0 from a server", 2, 0),
        wrongly("INITIAL_WINDOW_SIZE of 2^31", 4, 0x8000_0000, FLOW),
        fine("INITIAL_WINDOW_SIZE of 2^31 - 1", 4, 0x7fff_ffff),
        fine("INITIAL_WINDOW_SIZE of 0", 4, 0),
        wrongly("MAX_FRAME_SIZE of 16383", 5, 16_383, PROTOCOL),
        wrongly("MAX_FRAME_SIZE of 2^24", 5, 0x0100_0000, PROTOCOL),
        fine("MAX_FRAME_SIZE of 2^24 - 1", 5, 0x00ff_ffff),
        fine("a setting that no document defines", 0xabcd, 7),
        fine("HEADER_TABLE_SIZE of 0", 1, 0),
        fine("HEADER_TABLE_SIZE of 2^32 - 1", 1, u32::MAX),
        fine("MAX_CONCURRENT_STREAMS of 1", 3, 1),
        fine("MAX_HEADER_LIST_SIZE of 100", 6, 100),
        Case::after(
            "6.5.3",
            "one setting twice",
            then_replies(settings(&[(4, 0x7fff_ffff), (4, 100)])),
            Client::GoesOn,
            Caller::Gets(200),
        ),
    ]
}

/// 6.6, 6.7: pushes were switched off by the client.
fn pushes_and_pings() -> Vec<Case> {
    let request = [&[0x82, 0x86, 0x84][..], &field(b":authority", b"a")].concat();
    let promise = |promised: u32| [&promised.to_be_bytes()[..], &request].concat();
    let push = |name, stream, promised| {
        let bytes = wrong(PUSH_PROMISE, END_HEADERS, stream, &promise(promised));
        Case::after("6.6", name, bytes, PROTOCOL, Caller::Fails)
    };
    vec![
        push("a promise although pushes are off", STREAM, 2),
        push("a promise on the connection", 0, 2),
        push("a promise of an odd stream", STREAM, 3),
        push("a promise of stream 0", STREAM, 0),
        push("a promise on an idle stream", 5, 2),
        Case::after(
            "6.7",
            "PING on the stream",
            wrong(PING, 0, STREAM, &[0; 8]),
            PROTOCOL,
            Caller::Fails,
        ),
        Case::after(
            "6.7",
            "an answer to a PING that was not sent",
            wrong(PING, ACK, 0, &[1; 8]),
            Client::GoesOn,
            Caller::Gets(200),
        ),
    ]
}

/// 6.8
fn goaways() -> Vec<Case> {
    vec![
        Case::after(
            "6.8",
            "GOAWAY on the stream",
            wrong(GOAWAY, 0, STREAM, &[0; 8]),
            PROTOCOL,
            Caller::Fails,
        ),
        Case::after(
            "6.8",
            "GOAWAY that leaves the stream, then its reply",
            then_replies(goaway(STREAM, NO_ERROR)),
            Client::Any,
            Caller::Gets(200),
        ),
        Case::after(
            "6.8",
            "GOAWAY of 2^31 - 1, then one that leaves the stream",
            then_replies([goaway(0x7fff_ffff, NO_ERROR), goaway(STREAM, NO_ERROR)].concat()),
            Client::Any,
            Caller::Gets(200),
        ),
        Case::after(
            "6.8",
            "GOAWAY below the stream",
            goaway(0, NO_ERROR),
            Client::Any,
            Caller::Clean,
        )
        .and_closes(),
        Case::after(
            "6.8",
            "GOAWAY for an error, with an unknown code",
            goaway(STREAM, 0x1234_5678),
            Client::Any,
            Caller::Fails,
        )
        .and_closes(),
        Case::after(
            "6.8",
            "GOAWAY with debug data",
            then_replies(frame(
                GOAWAY,
                0,
                0,
                &[&[0, 0, 0, 1, 0, 0, 0, 0][..], &[b'z'; 4096]].concat(),
            )),
            Client::Any,
            Caller::Gets(200),
        ),
        Case::after(
            "6.8",
            "GOAWAY whose last stream grows",
            then_replies([goaway(STREAM, NO_ERROR), goaway(9, NO_ERROR)].concat()),
            Client::Any,
            Caller::Clean,
        ),
    ]
}

/// 6.9
fn windows() -> Vec<Case> {
    let stream_error = Client::ResetsStream(&[PROTOCOL_ERROR, FLOW_CONTROL_ERROR]);
    vec![
        Case::after(
            "6.9",
            "WINDOW_UPDATE of 0 on the connection",
            then_replies(window(0, 0)),
            PROTOCOL,
            Caller::Fails,
        ),
        Case::after(
            "6.9",
            "WINDOW_UPDATE of 0 on the stream",
            then_replies(window(STREAM, 0)),
            stream_error,
            Caller::Fails,
        ),
        Case::after(
            "6.9.1",
            "the connection's window beyond 2^31 - 1",
            then_replies(window(0, 0x7fff_ffff)),
            FLOW,
            Caller::Fails,
        ),
        Case::after(
            "6.9.1",
            "the stream's window beyond 2^31 - 1",
            then_replies(window(STREAM, 0x7fff_ffff)),
            // The request is sent: the window is of no use any more.
            Client::Any,
            Caller::Clean,
        ),
        Case::after(
            "6.9",
            "WINDOW_UPDATE with its reserved bit",
            then_replies(window(0, 0x8000_0001)),
            Client::GoesOn,
            Caller::Gets(200),
        ),
        Case::after(
            "6.9.2",
            "INITIAL_WINDOW_SIZE that takes a window beyond 2^31 - 1",
            then_replies([window(STREAM, 0x4000_0000), settings(&[(4, 0x7fff_ffff)])].concat()),
            Client::Any,
            Caller::Clean,
        ),
    ]
}

/// 6.10
fn continuations() -> Vec<Case> {
    let body = data(STREAM, END_STREAM, b"hello");
    let (first, second) = (STATUS_200, field(b"x-more", b"1"));
    let begun = frame(HEADERS, 0, STREAM, first);
    let rest = |flags, stream| frame(CONTINUATION, flags, stream, &second);
    let of = |name, parts: Vec<Vec<u8>>, client, caller| {
        let after = [parts.concat(), body.clone()].concat();
        Case::after("6.10", name, after, client, caller)
    };
    let broken = |name, parts| of(name, parts, PROTOCOL, Caller::Fails);
    let (ping, more) = (frame(PING, 0, 0, &[1; 8]), frame(UNKNOWN, 0, STREAM, b"x"));
    vec![
        of(
            "HEADERS with one CONTINUATION",
            vec![begun.clone(), rest(END_HEADERS, STREAM)],
            Client::GoesOn,
            Caller::Gets(200),
        ),
        of(
            "HEADERS without a byte and CONTINUATION",
            vec![
                frame(HEADERS, 0, STREAM, b""),
                frame(CONTINUATION, 0, STREAM, first),
                rest(END_HEADERS, STREAM),
            ],
            Client::GoesOn,
            Caller::Gets(200),
        ),
        broken("CONTINUATION of nothing", vec![rest(END_HEADERS, STREAM)]),
        broken(
            "CONTINUATION on the connection",
            vec![begun.clone(), rest(END_HEADERS, 0)],
        ),
        broken(
            "CONTINUATION of another stream",
            vec![begun.clone(), rest(END_HEADERS, 3)],
        ),
        of(
            "CONTINUATION after the end of HEADERS",
            vec![headers(STREAM, 0, first), rest(END_HEADERS, STREAM)],
            PROTOCOL,
            Caller::IsCut,
        ),
        broken(
            "PING within a field section",
            vec![begun.clone(), ping, rest(END_HEADERS, STREAM)],
        ),
        broken(
            "an unknown frame within a field section",
            vec![begun.clone(), more, rest(END_HEADERS, STREAM)],
        ),
        broken("DATA within a field section", vec![begun.clone()]),
        of(
            "empty CONTINUATION without end",
            vec![begun, frame(CONTINUATION, 0, STREAM, b"").repeat(10_000)],
            Client::EndsConnection(&[ENHANCE_YOUR_CALM, PROTOCOL_ERROR]),
            Caller::Fails,
        ),
    ]
}
