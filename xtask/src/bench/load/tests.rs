//! Tests of reading wrk and h2load.

use super::{h2_replies, replies};

const SAID: &str = "Running 3s test @ http://127.0.0.1:1/\n  1 threads and 64 connections\n\
     \x20 Thread Stats   Avg      Stdev     Max   +/- Stdev\n\
     \x20 93750 requests in 3.00s, 107.29MB read\nRequests/sec:  31240.51\n";

#[test]
fn replies_are_read_from_the_summary() {
    assert_eq!(replies(SAID), Ok(93_750));
}

#[test]
fn a_reply_that_is_not_200_spoils_the_round() {
    let said = format!("{SAID}  Non-2xx or 3xx responses: 3\n");
    assert!(replies(&said).unwrap_err().contains("Non-2xx"));
    let said = format!("{SAID}  Socket errors: connect 0, read 1, write 0, timeout 0\n");
    assert!(replies(&said).is_err());
}

const H2_SAID: &str = "finished in 3.00s, 31240.51 req/s, 1.2MB/s\n\
     requests: 93722 total, 93786 started, 93722 done, 93722 succeeded, 0 failed, 0 errored, 0 timeout\n\
     status codes: 93722 2xx, 0 3xx, 0 4xx, 0 5xx\n";

#[test]
fn replies_of_h2load_are_read_from_the_summary() {
    assert_eq!(h2_replies(H2_SAID), Ok(93_722));
    let said = H2_SAID.replace("0 failed", "2 failed");
    assert!(h2_replies(&said).is_err());
    let said = H2_SAID.replace("0 5xx", "3 5xx");
    assert!(h2_replies(&said).is_err());
}
