//! Buffers that each thread has for whichever connection it serves: a connection that sleeps and owes nobody a byte has none of its own.
//!
//! Ten thousand idle connections hold no buffers so, and a thread that serves many of them reads into memory that its core has at hand.

use std::cell::RefCell;

use bytes::BytesMut;

/// More than this is kept by nobody.
const BYTES_MAX: usize = 512 << 10;

#[derive(Default)]
struct Spare {
    input: BytesMut,
    output: Vec<u8>,
}

thread_local! {
    static SPARE: RefCell<Spare> = RefCell::default();
}

/// Gives this thread's buffers to a connection that has none.
pub(super) fn lend(input: &mut BytesMut, output: &mut Vec<u8>) {
    SPARE.with_borrow_mut(|spare| {
        if input.capacity() == 0 {
            std::mem::swap(input, &mut spare.input);
        }
        if output.capacity() == 0 {
            std::mem::swap(output, &mut spare.output);
        }
    });
}

/// Takes the read buffer of a connection that is about to sleep, if it holds nothing.
pub(super) fn keep_input(input: &mut BytesMut) {
    if !input.is_empty() {
        return;
    }
    let input = std::mem::take(input);
    SPARE.with_borrow_mut(|spare| {
        if (spare.input.capacity()..=BYTES_MAX).contains(&input.capacity()) {
            spare.input = input;
        }
    });
}

/// Takes its write buffer, if it holds nothing.
pub(super) fn keep_output(output: &mut Vec<u8>) {
    if !output.is_empty() {
        return;
    }
    let output = std::mem::take(output);
    SPARE.with_borrow_mut(|spare| {
        if (spare.output.capacity()..=BYTES_MAX).contains(&output.capacity()) {
            spare.output = output;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_nothing_goes_from_one_connection_to_the_next() {
        let (mut input, mut output) = (BytesMut::with_capacity(2000), Vec::with_capacity(100));
        let (read, written) = (input.as_ptr(), output.as_ptr());
        keep_input(&mut input);
        keep_output(&mut output);
        assert_eq!((input.capacity(), output.capacity()), (0, 0));
        lend(&mut input, &mut output);
        assert_eq!((input.as_ptr(), output.as_ptr()), (read, written));
    }

    #[test]
    fn what_holds_something_stays() {
        let (mut input, mut output) = (BytesMut::from(&b"half a frame"[..]), vec![1]);
        keep_input(&mut input);
        keep_output(&mut output);
        assert_eq!((&input[..], &output[..]), (&b"half a frame"[..], &[1][..]));
        lend(&mut input, &mut output);
        assert_eq!((&input[..], &output[..]), (&b"half a frame"[..], &[1][..]));
    }

    #[test]
    fn the_larger_one_is_kept_and_what_is_too_large_by_nobody() {
        let check = |given: &[usize], expected: usize| {
            SPARE.take();
            for bytes in given {
                keep_output(&mut Vec::with_capacity(*bytes));
            }
            let (mut input, mut output) = (BytesMut::new(), Vec::new());
            lend(&mut input, &mut output);
            assert_eq!(output.capacity(), expected, "of {given:?}");
        };
        check(&[100, 2000, 300], 2000);
        check(&[100, BYTES_MAX + 1], 100);
    }
}
