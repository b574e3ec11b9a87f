//! Definitions read so far, in the forms that users and the codec need.

use super::batch::Definitions;
use super::definitions_codec;
use super::error::Decoded;
use super::predict::Coded;

/// Definitions as they are and as the codec wants them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    pub(crate) defined: Definitions,
    pub(crate) coded: Coded,
}

impl Tables {
    /// Appends what a definitions frame holds. After a failure the tables are of no use.
    pub(crate) fn extend(&mut self, columns: &[Vec<u8>]) -> Decoded<()> {
        definitions_codec::decode(columns, &mut self.defined)?;
        for shape in &self.defined.shapes[self.coded.len()..] {
            self.coded.push(shape, self.defined.blocks[shape.block.index()].address);
        }
        Ok(())
    }
}
