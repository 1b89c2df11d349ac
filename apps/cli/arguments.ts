/**
 * What the parser lets pass though nobody means it: a flag without its value, an empty value (a shell variable
 * that is not set), a flag given twice, a word where a number belongs. Each would mean something by accident:
 * `--shard ""` is shard 0. And the parser's complaints, as sentences.
 */
import { HongbaoError } from "../../core/format/error.ts";
import { oneLine } from "./refusal.ts";

/** Flags that take no value. */
const SWITCHES = new Set(["json", "dry-run", "resume", "open-now", "audit", "stay", "help"]);
/** Flags that may be given several times. */
const REPEATABLE = new Set(["node", "journals", "replay"]);

/**
 * @param args the command line, every flag of which the parser knows
 * @throws HongbaoError `usage`
 */
export function checkArguments(args: readonly string[]): void {
  const seen = new Set<string>();
  for (const [i, argument] of args.entries()) {
    if (argument === "--") return;
    if (argument === "") throw usage("an argument is empty: is a shell variable not set?");
    const [, flag, value = args[i + 1]] = /^--([^=]+)(?:=(.*))?$/s.exec(argument) ?? [];
    if (flag === undefined) continue;
    const name = kebab(flag);
    if (SWITCHES.has(name.replace(/^no-/, ""))) continue;
    const isMissing = value === undefined || value === "" || (!argument.includes("=") && /^--./.test(value));
    if (isMissing) throw usage(`--${name} needs a value`);
    if (seen.has(name) && !REPEATABLE.has(name)) throw usage(`--${name} is given twice: give it once`);
    seen.add(name);
  }
}

/** @param parsed what the parser made of the flags: not a number is a word. @throws HongbaoError `usage` */
export function checkNumbers(parsed: object): void {
  for (const [flag, value] of Object.entries(parsed))
    if (Number.isNaN(value)) throw usage(`--${kebab(flag)} must be a number`);
}

/**
 * @param complaint the parser's
 * @param usages of all commands: `generate <file>`
 */
export function usageSentence(complaint: string, args: readonly string[], usages: readonly string[]): string {
  const wanted = usages.find((one) => args.includes(commandOf(one)));
  if (wanted === undefined) {
    const word = args.find((argument) => !argument.startsWith("-"));
    const what = word === undefined ? "name a command" : `there is no command "${word}"`;
    return oneLine(`${what}: \`hongbao --help\` lists them`);
  }
  const help = `see \`hongbao ${commandOf(wanted)} --help\``;
  if (complaint.startsWith("Not enough non-option arguments"))
    return `an argument is missing, write \`hongbao ${wanted}\`: ${help}`;
  return oneLine(`${complaint.charAt(0).toLowerCase()}${complaint.slice(1)}: ${help}`);
}

function commandOf(usage: string): string {
  return usage.split(" ")[0] ?? usage;
}

function kebab(flag: string): string {
  return flag.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function usage(sentence: string): HongbaoError {
  return new HongbaoError("usage", `${sentence} (\`hongbao --help\`)`);
}
