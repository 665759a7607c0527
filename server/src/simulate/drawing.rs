//! What the pictures show: a grey ramp, and on it whose they are, so that who looks at one sees whether it is the right one.

/// Letters of three by five points, a row an octal digit.
const LETTERS: &[(char, u16)] = &[
    ('0', 0o75557),
    ('1', 0o26227),
    ('2', 0o71747),
    ('3', 0o71717),
    ('4', 0o55711),
    ('5', 0o74717),
    ('6', 0o74757),
    ('7', 0o71111),
    ('8', 0o75757),
    ('9', 0o75717),
    ('A', 0o25755),
    ('B', 0o65656),
    ('C', 0o34443),
    ('D', 0o65556),
    ('E', 0o74647),
    ('F', 0o74644),
    ('G', 0o34553),
    ('H', 0o55755),
    ('I', 0o72227),
    ('J', 0o11152),
    ('K', 0o55655),
    ('L', 0o44447),
    ('M', 0o57755),
    ('N', 0o65555),
    ('O', 0o25552),
    ('P', 0o65644),
    ('Q', 0o25563),
    ('R', 0o65655),
    ('S', 0o34216),
    ('T', 0o72222),
    ('U', 0o55557),
    ('V', 0o55552),
    ('W', 0o55775),
    ('X', 0o55255),
    ('Y', 0o55222),
    ('Z', 0o71247),
    ('-', 0o00700),
    ('/', 0o11244),
    ('.', 0o00002),
    ('_', 0o00007),
];

/// A square of grey values from 0 to `white`, row by row: dark at the left, light at the right, and the text across it.
pub fn ramp(side: u16, white: u16, text: &str) -> Vec<u16> {
    let last = u32::from(side.max(2) - 1);
    let grey = |x: u16| u16::try_from(u32::from(x) * u32::from(white) / last).unwrap_or(white);
    let mut points: Vec<u16> = (0..side).flat_map(|_| (0..side).map(grey)).collect();
    let letters: Vec<u16> = text.chars().map(letter).collect();
    // Each letter takes four points, the last one its space.
    let width = usize::from(side);
    let Some(size) = (width - width / 16)
        .checked_div(letters.len() * 4)
        .filter(|size| *size != 0)
    else {
        return points;
    };
    let left = (width - letters.len() * 4 * size) / 2;
    let top = (width - 5 * size) / 2;
    for row in top.saturating_sub(size)..(top + 6 * size).min(width) {
        points[row * width..(row + 1) * width].fill(0);
    }
    for (idx, letter) in letters.iter().enumerate() {
        for point in (0..15).filter(|point| letter >> (14 - point) & 1 == 1) {
            let (x, y) = (left + (idx * 4 + point % 3) * size, top + point / 3 * size);
            for row in y..y + size {
                points[row * width + x..row * width + x + size].fill(white);
            }
        }
    }
    points
}

fn letter(letter: char) -> u16 {
    let letter = letter.to_ascii_uppercase();
    let known = LETTERS.iter().find(|(known, _)| *known == letter);
    known.map_or(0, |(_, points)| *points)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_with_letters_that_can_be_read() {
        let (side, white) = (64, 4095);
        let points = ramp(side, white, "A1");
        assert_eq!(points.len(), 64 * 64);
        assert_eq!((points[0], points[63]), (0, white), "from dark to light");
        assert!(points[..64].is_sorted());
        // Sampled in the middle of its points, the text stands there.
        let size = 60 / 8;
        let (left, top) = ((64 - 8 * size) / 2, (64 - 5 * size) / 2);
        let rows: Vec<String> = (0..5)
            .map(|row| {
                let point =
                    |at: usize| points[(top + row * size + size / 2) * 64 + left + at * size + size / 2];
                (0..7)
                    .map(|at| if point(at) == white { '#' } else { ' ' })
                    .collect()
            })
            .collect();
        assert_eq!(rows, [" #   # ", "# # ## ", "###  # ", "# #  # ", "# # ###"]);
        // Too small for letters, or none to write: the ramp alone.
        assert_eq!(ramp(8, white, "ACCESSION").len(), 64);
        assert_eq!(ramp(8, white, ""), ramp(8, white, "ACCESSION"));
        assert_eq!(ramp(1, white, "").len(), 1);
    }
}
