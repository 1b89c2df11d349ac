/**
 * What a demo shows while it runs: one block of figures that redraws itself on a terminal, or a line every few
 * seconds where nobody watches.
 */
import { formatCents } from "../../core/format/money.ts";
import type { Terminal } from "./command.ts";

export interface ShowFigures {
  readonly stage: string;
  readonly shakes: number;
  readonly shakesPerSecond: number;
  readonly packets: number;
  readonly left: number;
  readonly opened: number;
  readonly credited: number;
  readonly creditedCents: number;
  readonly queueDepth: number | null;
}

const QUIET_MS = 3_000;
const BAR_CHARS = 40;

export class LiveView {
  private readonly terminal: Terminal;
  private drawnLines = 0;
  private saidAtMs = Number.NEGATIVE_INFINITY;

  constructor(terminal: Terminal) {
    this.terminal = terminal;
  }

  show(figures: ShowFigures, nowMs: number): void {
    if (this.terminal.watched) this.redraw(block(figures));
    else if (nowMs - this.saidAtMs >= QUIET_MS) {
      this.saidAtMs = nowMs;
      this.terminal.err(`${line(figures)}\n`);
    }
  }

  /** Leaves the last figures standing. */
  end(figures: ShowFigures): void {
    if (this.terminal.watched) this.redraw(block(figures));
    else this.terminal.err(`${line(figures)}\n`);
    this.drawnLines = 0;
  }

  private redraw(lines: string[]): void {
    const up = this.drawnLines > 0 ? `\u001b[${this.drawnLines}A` : "";
    this.terminal.err(`${up}${lines.map((text) => `\u001b[2K${text}\n`).join("")}`);
    this.drawnLines = lines.length;
  }
}

function block(f: ShowFigures): string[] {
  return [
    `  ${f.stage}`,
    `  shakes     ${count(f.shakes)}  ${count(f.shakesPerSecond)}/s`,
    `  left       ${count(f.left)}  ${bar(f.packets - f.left, f.packets)}`,
    `  opened     ${count(f.opened)}  ${bar(f.opened, f.packets)}`,
    `  credited   ${count(f.credited)}  ${bar(f.credited, f.packets)}  ${formatCents(f.creditedCents)}`,
    `  in queue   ${f.queueDepth === null ? "unknown".padStart(11) : count(f.queueDepth)}`,
  ];
}

function line(f: ShowFigures): string {
  return `${f.stage}: ${f.shakes} shakes (${f.shakesPerSecond}/s), ${f.left} left, ${f.opened} opened, ${f.credited} credited, ${f.queueDepth ?? "?"} in queue`;
}

function count(value: number): string {
  return value.toLocaleString("en-US").padStart(11);
}

function bar(part: number, whole: number): string {
  const filled = whole === 0 ? 0 : Math.round((part / whole) * BAR_CHARS);
  return `${"█".repeat(filled)}${"░".repeat(BAR_CHARS - filled)}`;
}
