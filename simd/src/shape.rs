//! Blocks of a linear map: so many words in, so many words out.

/// Words of one input block and of one output block; neither is zero.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) input_words: usize,
    pub(crate) output_words: usize,
}

impl Shape {
    /// The shape for sizes in bits. `None` if one is zero or no multiple of 64.
    pub(crate) fn of_bits(input: usize, output: usize) -> Option<Self> {
        let fits = |bits: usize| bits > 0 && bits.is_multiple_of(64);
        (fits(input) && fits(output)).then_some(Shape {
            input_words: input / 64,
            output_words: output / 64,
        })
    }

    /// Cuts both down to the whole blocks that they have in common; also says how many.
    pub(crate) fn whole<'a>(
        self,
        input: &'a [u8],
        out: &'a mut [u8],
    ) -> (usize, &'a [u8], &'a mut [u8]) {
        let (width, height) = (8 * self.input_words, 8 * self.output_words);
        let blocks = (input.len() / width).min(out.len() / height);
        (
            blocks,
            &input[..blocks * width],
            &mut out[..blocks * height],
        )
    }
}
