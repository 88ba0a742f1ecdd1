//! Answers to a request for a tunnel, what is sent too early, and how the request is spelled.

/// What an app answers.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    pub(super) name: &'static str,
    pub(super) bytes: &'static [u8],
    /// The status that the caller gets.
    pub(super) status: &'static str,
}

/// What a caller sends before it has an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Early {
    /// Nothing.
    None,
    /// A few bytes, in one write with the head.
    Few,
    /// A few bytes in a write of their own.
    Behind,
    /// A whole request, as one who smuggles would.
    Request,
    /// More than a buffer.
    Much,
}

impl Early {
    const ALL: [Self; 5] = [
        Self::None,
        Self::Few,
        Self::Behind,
        Self::Request,
        Self::Much,
    ];

    pub(super) fn bytes(self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Few => b"\x81\x85early".to_vec(),
            Self::Behind => b"\x00".to_vec(),
            Self::Request => {
                b"POST /smuggled HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n".to_vec()
            }
            Self::Much => vec![0x5a; 40_000],
        }
    }
}

/// One request for an upgrade.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) answer: Answer,
    pub(super) early: Early,
    /// `Connection` and `Upgrade`.
    pub(super) spelling: (&'static str, &'static str),
}

impl Case {
    pub(super) fn name(&self) -> String {
        format!(
            "answer {}, early {:?}, Upgrade: {}",
            self.answer.name, self.early, self.spelling.1
        )
    }

    pub(super) fn grants(&self) -> bool {
        self.answer.status == "101"
    }
}

const fn answer(name: &'static str, status: &'static str, bytes: &'static [u8]) -> Answer {
    Answer {
        name,
        bytes,
        status,
    }
}

const ANSWERS: &[Answer] = &[
    answer(
        "101",
        "101",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ),
    answer(
        "103 and 101",
        "101",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
          HTTP/1.1 101 Up\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\nContent-Length: 0\r\n\r\n",
    ),
    answer("200", "200", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    answer(
        "200 that says Upgrade",
        "200",
        b"HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nok",
    ),
    answer(
        "200 in chunks",
        "200",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    answer("204", "204", b"HTTP/1.1 204 No Content\r\n\r\n"),
    answer(
        "302",
        "302",
        b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
    ),
    answer("400", "400", b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n"),
    answer("401", "401", b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno"),
    answer("403", "403", b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"),
    answer(
        "100 and 403",
        "403",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno",
    ),
    answer(
        "426",
        "426",
        b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: foo\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n",
    ),
    answer("503", "503", b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"),
    // What no caller may be told.
    answer(
        "101 to another protocol",
        "502",
        b"HTTP/1.1 101 Up\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n",
    ),
    answer("101 to nothing", "502", b"HTTP/1.1 101 Up\r\n\r\n"),
    answer(
        "101 without Connection",
        "502",
        b"HTTP/1.1 101 Up\r\nUpgrade: websocket\r\n\r\n",
    ),
    answer(
        "101 with a body",
        "502",
        b"HTTP/1.1 101 Up\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nok",
    ),
    answer(
        "101 in HTTP/1.0",
        "502",
        b"HTTP/1.0 101 Up\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ),
    answer("nothing", "502", b""),
];

const SPELLINGS: &[(&str, &str)] = &[
    ("Upgrade", "websocket"),
    ("keep-alive, upgrade", "h2c, foo/2, WEBSOCKET"),
];

/// Every answer after everything that may come early, in both spellings.
pub(super) fn all() -> impl Iterator<Item = Case> {
    ANSWERS.iter().flat_map(|answer| {
        Early::ALL.into_iter().flat_map(move |early| {
            SPELLINGS.iter().map(move |spelling| Case {
                answer: *answer,
                early,
                spelling: *spelling,
            })
        })
    })
}

/// One CONNECT.
pub(super) struct Connect {
    pub(super) authority: String,
    pub(super) status: &'static str,
}

/// To the app by its port's number and name and past the mesh, and where nobody is.
pub(super) fn connects(tcp: u16, closed: u16) -> Vec<Connect> {
    let to = |authority: String, status| Connect { authority, status };
    vec![
        to(format!("shop:{tcp}"), "200"),
        to("shop:tcp".to_owned(), "200"),
        to(format!("127.0.0.1:{tcp}"), "200"),
        to(format!("127.0.0.1:{closed}"), "503"),
        to("shop:1".to_owned(), "404"),
        to("shop".to_owned(), "400"),
        to("shop:0".to_owned(), "400"),
        to("http://shop/".to_owned(), "400"),
        to("/".to_owned(), "400"),
    ]
}
