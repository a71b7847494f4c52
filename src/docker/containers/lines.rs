//! Cuts output into lines, wherever the pipe has cut it.

/// Bytes that are kept of a line.
const LIMIT: usize = 16 * 1024;

#[derive(Default)]
pub struct Lines {
    /// The line that has begun.
    line: Vec<u8>,
}

impl Lines {
    /// Hands every line that ends in `bytes` to `each`, without blanks at its end.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let room = LIMIT.saturating_sub(self.line.len());
            self.line.extend(piece.iter().take(room));
            if piece.ends_with(b"\n") {
                each(String::from_utf8_lossy(&self.line).trim_end());
                self.line.clear();
            }
        }
    }
}
