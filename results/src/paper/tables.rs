//! Figures 3, 4 and 7 to 10: tables in the paper, and pictures here too.

use super::data::FigureData;
use super::flows::{OwnRow, PaperFlow, PaperRow};
use super::table_picture::{PictureColumn, PictureRow, TablePicture};
use super::{DrawnFigure, FigureSource};
use crate::error::Error;
use crate::layer_colour::layer_colour;
use crate::numbers::{NOT_AVAILABLE, counted, grouped};
use crate::result_table::{Cell, Column, Kind};
use strata_sim::Figure4;
use strata_symbols::Layer;

fn column(heading: &str, is_number: bool, begins_group: bool) -> PictureColumn {
    PictureColumn { heading: heading.to_owned(), is_number, begins_group }
}

fn address(own: &OwnRow) -> String {
    format!("{:#x}", own.address)
}

/// Which of several flows it is, and where.
fn which(flow: &PaperFlow) -> String {
    format!(
        "number {} of {}; of the {} direct ones ({} to {} instructions) the one of median length; \
         from instruction {}",
        grouped(flow.number as u64),
        grouped(flow.flows as u64),
        grouped(flow.direct as u64),
        grouped(flow.range.0),
        grouped(flow.range.1),
        grouped(flow.place.at),
    )
}

/// Rows that play a part, with their places among all.
fn own_rows(flow: &PaperFlow) -> impl Iterator<Item = (&PaperRow, &OwnRow)> {
    flow.rows.iter().filter_map(|row| Some((row, row.own.as_ref()?)))
}

/// Figure 3: which functions are entered.
pub(super) fn annotated(source: &FigureSource<'_>, flow: &PaperFlow) -> Result<DrawnFigure, Error> {
    let mut columns = Column::texts(["eip", "function", "module", "layer"]);
    columns.extend(Column::texts(["paper_function", "note"]));
    columns.extend(Column::counts(["out_of_order_at"]));
    let (mut rows, mut drawn) = (Vec::new(), Vec::new());
    for row in &flow.rows {
        let PaperRow { published, own, elsewhere } = row;
        rows.push(vec![
            Cell::text(own.as_ref().map(address).as_deref()),
            Cell::text(own.as_ref().map(|own| own.function.as_str())),
            Cell::text(own.as_ref().map(|own| own.module.as_str())),
            Cell::text(own.as_ref().map(|own| own.layer.to_string()).as_deref()),
            published.function.as_str().into(),
            published.note.as_str().into(),
            Cell::whole(*elsewhere),
        ]);
        let texts = match own {
            Some(own) => [address(own), own.function.clone(), bracketed(own.layer)],
            None => [NOT_AVAILABLE.to_owned(), reason(row), String::new()],
        };
        let note = if own.is_some() { published.note.clone() } else { String::new() };
        drawn.push(PictureRow {
            cells: texts.into_iter().chain([published.function.clone(), note]).collect(),
            colour: own.as_ref().map(|own| layer_colour(own.layer)),
            is_absent: own.is_none(),
        });
    }
    let picture = TablePicture {
        title: source.title("Annotated instruction flow"),
        subtitle: format!("a timer interrupt, {}", which(flow)),
        columns: vec![
            column("EIP", false, false),
            column("Function", false, false),
            column("Module", false, false),
            column("Figure 3 of the paper", false, true),
            column("", false, false),
        ],
        rows: drawn,
        source: source.line(),
        size: 13.0,
    };
    let finding = format!(
        "Of the {} functions that the paper's flow shows, {} are entered here in the same order and \
         {} out of it, among {} entries in all.",
        flow.rows.len(),
        flow.played(),
        flow.elsewhere(),
        grouped(flow.entries),
    );
    let data = FigureData::new(source.report, columns, rows);
    Ok(DrawnFigure { svg: picture.to_svg()?, data, findings: vec![finding] })
}

/// As the paper writes modules: `[hypervisor]`, `[dom0-kernel]`.
fn bracketed(layer: Layer) -> String {
    format!("[{layer}]")
}

/// Why a row has no counterpart.
fn reason(row: &PaperRow) -> String {
    let note = row.published.note.as_str();
    if row.published.roles.is_empty() && !note.is_empty() {
        return note.to_owned();
    }
    let place = match row.elsewhere {
        Some(at) => format!("out of order, at {}", grouped(at)),
        None => "not in this flow".to_owned(),
    };
    if note.is_empty() { place } else { format!("{place}; {note}") }
}

/// Figure 4: what each did to caches and TLBs, up to the next row. The last row is the first
/// function of the next step, and only marks the end.
pub(super) fn counted_flow(
    source: &FigureSource<'_>,
    flow: &PaperFlow,
) -> Result<DrawnFigure, Error> {
    let mut columns = Column::texts(["EIP", "Function", "Module", "Layer"]);
    columns.extend(Column::counts(Figure4::NAMES));
    columns.extend(Column::counts(["Device refs", "Others until next"]));
    let (mut rows, mut drawn) = (Vec::new(), Vec::new());
    for (_, own) in own_rows(flow) {
        let numbers = Figure4::of(&own.counters).to_array();
        let names = [address(own), own.function.clone(), own.module.clone(), own.layer.to_string()];
        let mut row: Vec<Cell> = names.into_iter().map(Cell::from).collect();
        row.extend(numbers.map(Cell::Whole));
        row.extend([Cell::Whole(own.counters.device), Cell::Whole(own.others)]);
        rows.push(row);
        let mut cells = vec![address(own), own.function.clone(), bracketed(own.layer)];
        cells.extend(numbers.map(grouped));
        let colour = Some(layer_colour(own.layer));
        drawn.push(PictureRow { cells, colour, is_absent: false });
    }
    let mut headings = vec![
        column("EIP", false, false),
        column("Function", false, false),
        column("Module", false, false),
    ];
    for (number, name) in Figure4::NAMES.iter().enumerate() {
        let begins_group = matches!(number, 0 | 11 | 22);
        headings.push(column(&name.replace(' ', "\n"), true, begins_group));
    }
    let picture = TablePicture {
        title: source.title("Annotated instruction flow with what each part did"),
        subtitle: format!(
            "a timer interrupt, {}; a row holds all that ran until the next",
            which(flow)
        ),
        columns: headings,
        rows: drawn,
        source: source.line(),
        size: 11.0,
    };
    let data = FigureData::new(source.report, columns, rows);
    Ok(DrawnFigure { svg: picture.to_svg()?, data, findings: figure_4_findings(source, flow)? })
}

/// TLB misses before and after the row that loads the new address space.
pub(super) struct AroundSwitch {
    pub(super) before: u64,
    pub(super) after: u64,
}

/// TLB misses of a timer's flow before `write_ptbase` and from there on.
pub(super) fn around_switch(flow: &PaperFlow) -> Option<AroundSwitch> {
    let switch = flow.own("write_ptbase")?.instructions;
    let misses = |own: &OwnRow| own.counters.itlb.misses + own.counters.dtlb.misses;
    let sum = |is_after: bool| {
        let rows = own_rows(flow).filter(|(_, own)| (own.instructions >= switch) == is_after);
        rows.map(|(_, own)| misses(own)).sum()
    };
    Some(AroundSwitch { before: sum(false), after: sum(true) })
}

/// Whether the identities of the figure hold in all rows; `None` where they are no laws.
///
/// # Errors
/// [`Error::Identity`] if one does not, which is a fault of this program.
pub(super) fn identities(
    source: &FigureSource<'_>,
    flow: &PaperFlow,
) -> Result<Option<u64>, Error> {
    if Figure4::no_laws(&source.report.profile.machine).is_some() {
        return Ok(None);
    }
    let mut rows = 0;
    for (_, own) in own_rows(flow) {
        Figure4::of(&own.counters).check(own.counters.device).map_err(|broken| {
            Error::Identity {
                function: own.function.clone(),
                at: flow.place.at + own.instructions,
                broken,
            }
        })?;
        rows += 1;
    }
    Ok(Some(rows))
}

fn figure_4_findings(source: &FigureSource<'_>, flow: &PaperFlow) -> Result<Vec<String>, Error> {
    let mut findings = Vec::new();
    if let Some(around) = around_switch(flow) {
        let all = around.before + around.after;
        findings.push(format!(
            "{} of the {} TLB misses come from write_ptbase on, which loads the new address space.",
            grouped(around.after),
            grouped(all),
        ));
    }
    findings.push(match identities(source, flow)? {
        Some(rows) => format!(
            "All 17 identities between the counters hold in each of the {}.",
            counted(rows, "row")
        ),
        None => "The 17 identities between the counters are no laws of this machine.".to_owned(),
    });
    Ok(findings)
}

/// Figures 7 to 10: functions with instructions since the first one, beside the paper's.
pub(super) fn flow(
    source: &FigureSource<'_>,
    title: &str,
    flow: &PaperFlow,
) -> Result<DrawnFigure, Error> {
    let mut columns = Column::texts(["eip", "function", "module", "layer"]);
    columns.push(Column::new("instructions", Kind::Whole));
    columns.push(Column::new("others_until_next", Kind::Whole));
    columns.push(Column::new("paper_function", Kind::Text));
    columns.push(Column::new("paper_instructions", Kind::Whole));
    columns.push(Column::new("note", Kind::Text));
    columns.push(Column::new("out_of_order_at", Kind::Whole));
    let (mut rows, mut drawn) = (Vec::new(), Vec::new());
    for row in &flow.rows {
        let PaperRow { published, own, elsewhere } = row;
        let own = own.as_ref();
        rows.push(vec![
            Cell::text(own.map(address).as_deref()),
            Cell::text(own.map(|own| own.function.as_str())),
            Cell::text(own.map(|own| own.module.as_str())),
            Cell::text(own.map(|own| own.layer.to_string()).as_deref()),
            Cell::whole(own.map(|own| own.instructions)),
            Cell::whole(own.map(|own| own.others)),
            published.function.as_str().into(),
            Cell::whole(published.instructions),
            published.note.as_str().into(),
            Cell::whole(*elsewhere),
        ]);
        let mut cells = match own {
            Some(own) => vec![
                grouped(own.instructions),
                address(own),
                own.function.clone(),
                own.layer.to_string(),
                if own.others > 0 { grouped(own.others) } else { String::new() },
            ],
            None => {
                let texts = [String::new(), NOT_AVAILABLE.to_owned(), reason(row)];
                texts.into_iter().chain([String::new(), String::new()]).collect()
            }
        };
        cells.push(published.function.clone());
        cells.push(published.instructions.map(grouped).unwrap_or_default());
        let colour = own.map(|own| layer_colour(own.layer));
        drawn.push(PictureRow { cells, colour, is_absent: own.is_none() });
    }
    let picture = TablePicture {
        title: source.title(title),
        subtitle: which(flow),
        columns: vec![
            column("Instr\ncount", true, false),
            column("EIP", false, false),
            column("Function", false, false),
            column("Module", false, false),
            column("others\nuntil next", true, false),
            column("the paper's\nfunction", false, true),
            column("Instr\ncount", true, false),
        ],
        rows: drawn,
        source: source.line(),
        size: 13.0,
    };
    let data = FigureData::new(source.report, columns, rows);
    Ok(DrawnFigure { svg: picture.to_svg()?, data, findings: vec![flow_finding(flow)] })
}

/// Instructions up to the last row that plays a part, here and in the paper.
pub(super) fn lengths(flow: &PaperFlow) -> (u64, u64) {
    let last = own_rows(flow).last();
    last.map_or((0, 0), |(row, own)| (own.instructions, row.published.instructions.unwrap_or(0)))
}

fn flow_finding(flow: &PaperFlow) -> String {
    let (own, published) = lengths(flow);
    let mut text = format!(
        "From {} to {} it takes {} instructions and {} entries of functions; in the paper {}. Of its \
         {} rows, {} have a counterpart in the same order and {} one out of it.",
        own_rows(flow).next().map_or(NOT_AVAILABLE, |(_, own)| own.function.as_str()),
        own_rows(flow).last().map_or(NOT_AVAILABLE, |(_, own)| own.function.as_str()),
        grouped(own),
        grouped(flow.entries),
        grouped(published),
        flow.rows.len(),
        flow.played(),
        flow.elsewhere(),
    );
    if flow.packets > 1 {
        text.push_str(&format!(
            " Meanwhile {} are handed on, so that one takes {} instructions.",
            counted(flow.packets, "packet"),
            grouped(own / flow.packets),
        ));
    }
    text
}
