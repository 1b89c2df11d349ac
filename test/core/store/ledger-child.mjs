/**
 * A process of its own at a ledger, from the built files: to be killed, starved of disk, or run as another user.
 *
 *     ledger-child.mjs read LEDGER                 prints the totals
 *     ledger-child.mjs record LEDGER MANIFEST      credits serials 0, 1, 2 … one a transaction, printing each
 *
 * The last line is `{"code","message"}` of whatever stopped it.
 */
import { readFileSync } from "node:fs";

const built = new URL("../../../dist/core/store/", import.meta.url);
const { openLedger } = await import(new URL("ledger.js", built));
const { readLedger } = await import(new URL("ledger-reader.js", built));

const [work, path, manifestPath] = process.argv.slice(2);
const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

try {
  if (work === "read") {
    const reader = readLedger(path);
    print({ totals: reader.totals(), credits: [...reader.credits()].length });
    reader.close();
  } else {
    const file = JSON.parse(readFileSync(manifestPath, "utf8"));
    const ledger = await openLedger({ kind: "sqlite", path }, file);
    for (let serial = 0; serial < 1_000_000; serial++) {
      const claim = { token: Buffer.alloc(45), user: `user-${serial}`, device: "phone", atMs: 1 };
      ledger.record(0, Buffer.alloc(16, 1), [{ verdict: "authentic", claim, serial, cents: 1, ad: 1 }]);
      print({ created: serial });
    }
  }
} catch ({ code, message }) {
  print({ code, message });
}
