/** One client of the embedded queue's database, for what a test wants to do to it: runs the SQL it is sent. */
import pg from "pg";
import { openEmbeddedSocket } from "../../dist/core/store/embedded-socket.js";

const client = new pg.Client({ stream: openEmbeddedSocket, ssl: false });
client.on("error", (error) => process.send({ broken: error.message }));
client.on("notification", ({ channel, payload }) => process.send({ notification: `${channel} ${payload}` }));
await client.connect();

let last = Promise.resolve();
process.on("message", ({ sql, values }) => {
  if (sql !== undefined) last = last.then(() => run(sql, values));
});

async function run(sql, values) {
  try {
    const { rows } = await client.query(sql, values);
    process.send({ rows });
  } catch (error) {
    process.send({ failed: error.code ?? error.message });
  }
}

process.send({ rows: "ready" });
