/** One group of bars: a label on the x axis and a value per series, NaN where there is none. */
export interface BarGroup {
  readonly label: string;
  readonly values: readonly number[];
}

export interface Panel {
  readonly title: string;
  /** Quantity of the bars, with its unit. */
  readonly unit: string;
  readonly groups: readonly BarGroup[];
}

export interface Chart {
  readonly title: string;
  readonly subtitle: string;
  /** Names of the series, in the order of `BarGroup.values`. */
  readonly series: readonly string[];
  /** Drawn from left to right, from top to bottom. */
  readonly rows: readonly (readonly Panel[])[];
}

const COLORS = ["#0b6e99", "#e08a1e", "#9aa5b1", "#6b4c9a"];
const TEXT = "#1f2933";
const FAINT = "#616e7c";
const GRID = "#e4e7eb";
const PANEL_WIDTH = 340;
const PANEL_HEIGHT = 220;
const HEADER_HEIGHT = 92;
const MARGIN = 24;
const PLOT = { left: 52, right: 8, top: 44, bottom: 26 };
const GRID_LINES = 4;

function escapeText(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

/** 950 -> "950", 12345 -> "12.3k", 0.456 -> "0.46". */
function shortNumber(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)}M`;
  if (value >= 99_950) return `${(value / 1000).toFixed(0)}k`;
  if (value >= 1000) return `${(value / 1000).toFixed(1)}k`;
  if (value >= 100 || value === 0) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** The least of 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten that is not below `value`. */
function niceCeiling(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * power >= value) ?? 10) * power;
}

function text(x: number, y: number, content: string, attributes: string): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escapeText(content)}</text>`;
}

function drawPanel(panel: Panel, left: number, top: number): string {
  const x0 = left + PLOT.left;
  const y0 = top + PANEL_HEIGHT - PLOT.bottom;
  const width = PANEL_WIDTH - PLOT.left - PLOT.right;
  const height = PANEL_HEIGHT - PLOT.top - PLOT.bottom;
  const values = panel.groups.flatMap((group) => group.values.filter(Number.isFinite));
  const ceiling = niceCeiling(Math.max(0, ...values));
  const parts = [
    text(left, top + 14, panel.title, `font-weight="600" fill="${TEXT}"`),
    text(left, top + 30, panel.unit, `font-size="11" fill="${FAINT}"`),
  ];
  for (let line = 0; line <= GRID_LINES; line++) {
    const y = y0 - (height * line) / GRID_LINES;
    parts.push(
      `<path d="M${x0} ${y.toFixed(1)}h${width}" stroke="${line === 0 ? FAINT : GRID}"/>`,
      text(
        x0 - 6,
        y + 4,
        shortNumber((ceiling * line) / GRID_LINES),
        `font-size="10" fill="${FAINT}" text-anchor="end"`,
      ),
    );
  }
  const groupWidth = width / Math.max(1, panel.groups.length);
  for (const [g, group] of panel.groups.entries()) {
    const barWidth = Math.min(34, (groupWidth * 0.86) / Math.max(1, group.values.length));
    const groupLeft = x0 + groupWidth * (g + 0.5) - (barWidth * group.values.length) / 2;
    for (const [s, value] of group.values.entries()) {
      if (!Number.isFinite(value)) continue;
      const barHeight = (height * value) / ceiling;
      const x = groupLeft + barWidth * s;
      parts.push(
        `<rect x="${(x + 1).toFixed(1)}" y="${(y0 - barHeight).toFixed(1)}" ` +
          `width="${(barWidth - 2).toFixed(1)}" height="${barHeight.toFixed(1)}" ` +
          `fill="${COLORS[s % COLORS.length]}"/>`,
        text(
          x + barWidth / 2,
          y0 - barHeight - 4,
          shortNumber(value),
          `font-size="9" fill="${TEXT}" text-anchor="middle"`,
        ),
      );
    }
    parts.push(
      text(
        x0 + groupWidth * (g + 0.5),
        y0 + 16,
        group.label,
        `font-size="11" fill="${FAINT}" text-anchor="middle"`,
      ),
    );
  }
  return parts.join("\n");
}

/** A bar chart as one self-contained SVG document. */
export function barChart(chart: Chart): string {
  const columns = Math.max(1, ...chart.rows.map((row) => row.length));
  const width = MARGIN * 2 + columns * PANEL_WIDTH + (columns - 1) * MARGIN;
  const height = HEADER_HEIGHT + chart.rows.length * (PANEL_HEIGHT + MARGIN);
  let legendX = MARGIN;
  const legend = chart.series.map((name, s) => {
    const item =
      `<rect x="${legendX}" y="64" width="12" height="12" fill="${COLORS[s % COLORS.length]}"/>` +
      text(legendX + 18, 74, name, `fill="${TEXT}"`);
    legendX += 40 + name.length * 8;
    return item;
  });
  const panels = chart.rows.flatMap((row, y) =>
    row.map((panel, x) =>
      drawPanel(
        panel,
        MARGIN + x * (PANEL_WIDTH + MARGIN),
        HEADER_HEIGHT + y * (PANEL_HEIGHT + MARGIN),
      ),
    ),
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ` +
      `viewBox="0 0 ${width} ${height}" font-family="Helvetica, Arial, DejaVu Sans, sans-serif" ` +
      'font-size="13">',
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(MARGIN, 30, chart.title, `font-size="18" font-weight="600" fill="${TEXT}"`),
    text(MARGIN, 50, chart.subtitle, `fill="${FAINT}"`),
    ...legend,
    ...panels,
    "</svg>",
    "",
  ].join("\n");
}
