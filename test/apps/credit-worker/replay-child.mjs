/** `replayJournals` in a process of its own, from the built files, to be killed: prints a line, then works. */
const { replayJournals } = await import(
  new URL("../../../dist/apps/credit-worker/replay.js", import.meta.url)
);

const quiet = () => {};
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };
process.stdout.write("begin\n");
const tally = await replayJournals(JSON.parse(process.argv[2]), { log });
process.stdout.write(`${JSON.stringify(tally)}\n`);
