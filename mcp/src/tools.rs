//! The tools.

use std::sync::Arc;

use qrng::draw::{self, ByteSource};
use qrng::record::{self, Record};
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{Implementation, ServerCapabilities, ServerConfig};
use rmcp::{Json, ServerHandler, tool, tool_handler, tool_router};
use zeroize::Zeroizing;

use crate::arguments::{
    Bytes, BytesGiven, Choice, Count, Dice, DiceGiven, Encoding, Integers, IntegersGiven, Items,
    ItemsGiven, MAX_BYTES, MAX_EXACT, MAX_FEW, MAX_INTEGERS, MAX_ITEMS, Uuids, UuidsGiven,
};
use crate::{NoBytes, Supply};

const INSTRUCTIONS: &str = "Random bytes and numbers of a hardware generator, each handed out once. Every answer says in \
`provenance` what they come from: kinds of `simulator` are for trials and not random. If there are no bytes, a tool fails with \
words that say why; no other generator steps in.";

/// Bytes of one draw that is not rejected; see [`qrng::draw`].
const DRAW: usize = 8;

/// The tools over a supply.
#[derive(Clone)]
pub struct Tools {
    supply: Arc<dyn Supply>,
    router: ToolRouter<Self>,
}

// A tool gives its answer, or words that say why not. The return types are written out, because the SDK reads them for the
// schemas of answers.
#[tool_router(router = router)]
impl Tools {
    /// Tools that give what `supply` has.
    pub fn new(supply: Arc<dyn Supply>) -> Self {
        Self {
            supply,
            router: Self::router(),
        }
    }

    /// Random bytes, written in hexadecimal digits or base64.
    #[tool(annotations(title = "Random bytes", read_only_hint = true, open_world_hint = false))]
    async fn get_random_bytes(
        &self,
        Parameters(asked): Parameters<Bytes>,
    ) -> Result<Json<BytesGiven>, String> {
        self.bytes(asked.count, asked.encoding).await
    }

    /// Random bytes, written in hexadecimal digits.
    #[tool(annotations(
        title = "Random bytes in hexadecimal",
        read_only_hint = true,
        open_world_hint = false
    ))]
    async fn get_random_hex(
        &self,
        Parameters(asked): Parameters<Count>,
    ) -> Result<Json<BytesGiven>, String> {
        self.bytes(asked.count, Encoding::Hex).await
    }

    /// Random bytes, written in base64.
    #[tool(annotations(
        title = "Random bytes in base64",
        read_only_hint = true,
        open_world_hint = false
    ))]
    async fn get_random_base64(
        &self,
        Parameters(asked): Parameters<Count>,
    ) -> Result<Json<BytesGiven>, String> {
        self.bytes(asked.count, Encoding::Base64).await
    }

    /// Random integers from `min` to `max`, both included, each equally likely.
    #[tool(annotations(
        title = "Random integers",
        read_only_hint = true,
        open_world_hint = false
    ))]
    async fn get_random_integers(
        &self,
        Parameters(asked): Parameters<Integers>,
    ) -> Result<Json<IntegersGiven>, String> {
        within("count", asked.count, 1, MAX_INTEGERS)?;
        within("min", asked.min, -MAX_EXACT, MAX_EXACT)?;
        within("max", asked.max, -MAX_EXACT, MAX_EXACT)?;
        let Integers { count, min, max } = asked;
        let (integers, provenance) = self
            .draw(count as usize * DRAW, move |source| {
                (0..count).map(|_| draw::int(source, min, max)).collect()
            })
            .await?;
        Ok(Json(IntegersGiven {
            integers,
            provenance,
        }))
    }

    /// Random UUIDs (version 4).
    #[tool(annotations(title = "Random UUIDs", read_only_hint = true, open_world_hint = false))]
    async fn uuid(&self, Parameters(asked): Parameters<Uuids>) -> Result<Json<UuidsGiven>, String> {
        within("count", asked.count, 1, MAX_FEW)?;
        let (uuids, provenance) = self
            .draw(
                asked.count as usize * Record::Uuid.random_len(),
                move |source| (0..asked.count).map(|_| text_of_uuid(source)).collect(),
            )
            .await?;
        Ok(Json(UuidsGiven { uuids, provenance }))
    }

    /// Rolls dice: what each shows, and the sum.
    #[tool(annotations(title = "Dice", read_only_hint = true, open_world_hint = false))]
    async fn dice(&self, Parameters(asked): Parameters<Dice>) -> Result<Json<DiceGiven>, String> {
        within("count", asked.count, 1, MAX_FEW)?;
        within("sides", asked.sides, 2, u32::MAX)?;
        let (rolls, provenance) = self
            .draw(asked.count as usize * DRAW, move |source| {
                let mut rolls = vec![0; asked.count as usize];
                draw::dice(source, asked.sides, &mut rolls)?;
                Ok(rolls)
            })
            .await?;
        let total = rolls.iter().copied().map(u64::from).sum();
        Ok(Json(DiceGiven {
            rolls,
            total,
            provenance,
        }))
    }

    /// Puts items into a random order, each equally likely.
    #[tool(annotations(title = "Shuffle", read_only_hint = true, open_world_hint = false))]
    async fn shuffle(
        &self,
        Parameters(asked): Parameters<Items>,
    ) -> Result<Json<ItemsGiven>, String> {
        let count = asked.items.len();
        self.pick(asked.items, count).await
    }

    /// Chooses among items, each equally likely: one, or several different ones.
    #[tool(annotations(title = "Choice", read_only_hint = true, open_world_hint = false))]
    async fn choice(
        &self,
        Parameters(asked): Parameters<Choice>,
    ) -> Result<Json<ItemsGiven>, String> {
        let most = u32::try_from(asked.items.len()).unwrap_or(u32::MAX);
        within("count", asked.count, 1, most.max(1))?;
        self.pick(asked.items, asked.count as usize).await
    }
}

impl Tools {
    async fn bytes(&self, count: u32, encoding: Encoding) -> Result<Json<BytesGiven>, String> {
        within("count", count, 1, MAX_BYTES)?;
        let (bytes, provenance) = self
            .draw(count as usize, move |source| {
                let mut raw = Zeroizing::new(vec![0; count as usize]);
                source.fill(&mut raw).map_err(draw::DrawError::Source)?;
                Ok(match encoding {
                    Encoding::Hex => record::hex(&raw),
                    Encoding::Base64 => record::base64(&raw),
                })
            })
            .await?;
        Ok(Json(BytesGiven {
            bytes,
            encoding,
            count,
            provenance,
        }))
    }

    async fn pick(
        &self,
        mut items: Vec<serde_json::Value>,
        count: usize,
    ) -> Result<Json<ItemsGiven>, String> {
        within("the number of items", items.len(), 1, MAX_ITEMS)?;
        let (items, provenance) = self
            .draw(count * DRAW, move |source| {
                // Fisher-Yates from the front, as far as items are asked for.
                for place in 0..count {
                    let rest = (items.len() - place) as u64;
                    let other = place + draw::below(source, rest)? as usize;
                    items.swap(place, other);
                }
                items.truncate(count);
                Ok(items)
            })
            .await?;
        Ok(Json(ItemsGiven { items, provenance }))
    }

    /// Draws on a thread that may block, and looks at where the bytes come from. `expected` bytes are taken at once; only after a
    /// rejection there are more.
    async fn draw<T: Send + 'static>(
        &self,
        expected: usize,
        draw: impl FnOnce(&mut Source) -> Result<T, draw::DrawError<NoBytes>> + Send + 'static,
    ) -> Result<(T, crate::Provenance), String> {
        let supply = Arc::clone(&self.supply);
        let drawn = tokio::task::spawn_blocking(move || {
            let drawn = draw(&mut Source::new(Arc::clone(&supply), expected))?;
            Ok((drawn, supply.provenance()))
        });
        match drawn.await {
            Ok(Ok(drawn)) => Ok(drawn),
            Ok(Err(draw::DrawError::Source(NoBytes(words)))) => Err(words),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the draw failed in a way that is a bug: see the program's log".into()),
        }
    }
}

#[tool_handler(router = self.router)]
impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        let mut info = ServerConfig::new(ServerCapabilities::builder().enable_tools().build());
        info.server_info = Implementation::new("qrng", env!("CARGO_PKG_VERSION"));
        info.instructions = Some(INSTRUCTIONS.into());
        info
    }
}

/// A supply as a source of draws: what is expected to be needed is taken at the first draw, and what is not used is wiped.
struct Source {
    supply: Arc<dyn Supply>,
    expected: usize,
    ahead: Zeroizing<Vec<u8>>,
    used: usize,
}

impl Source {
    fn new(supply: Arc<dyn Supply>, expected: usize) -> Self {
        Self {
            supply,
            expected,
            ahead: Zeroizing::default(),
            used: 0,
        }
    }
}

impl ByteSource for Source {
    type Error = NoBytes;

    fn fill(&mut self, out: &mut [u8]) -> Result<(), NoBytes> {
        if self.ahead.len() - self.used < out.len() {
            if !self.ahead.is_empty() || self.expected < out.len() {
                return self.supply.fill(out);
            }
            self.ahead = Zeroizing::new(vec![0; self.expected]);
            self.supply.fill(&mut self.ahead)?;
        }
        out.copy_from_slice(&self.ahead[self.used..self.used + out.len()]);
        self.used += out.len();
        Ok(())
    }
}

fn text_of_uuid(source: &mut Source) -> Result<String, draw::DrawError<NoBytes>> {
    let mut random = Zeroizing::new([0; Record::Uuid.random_len()]);
    source
        .fill(&mut random[..])
        .map_err(draw::DrawError::Source)?;
    let mut line = [0; Record::Uuid.line_len()];
    Record::Uuid.encode(&random[..], &mut line);
    Ok(line
        .into_iter()
        .map(char::from)
        .collect::<String>()
        .trim_end()
        .to_owned())
}

/// A limit of an argument, in words that a model can act on.
fn within<T: PartialOrd + std::fmt::Display>(
    what: &str,
    value: T,
    min: T,
    max: T,
) -> Result<(), String> {
    if value >= min && value <= max {
        return Ok(());
    }
    Err(format!(
        "{what} is {value}, but must be from {min} to {max}"
    ))
}

#[cfg(test)]
mod tests;
