/**
 * Every other spelling of a token: 60 characters have exactly one, or an alias of a token would be a second one.
 */
import { decodeToken, encodeToken, TOKEN_BYTES } from "../../../core/format/token.ts";
import { type Experiment, Violations } from "../experiment.ts";
import { seededRandom } from "../random.ts";

const OTHERS = ["+", "/", "=", " ", "\n", "\0", "é", "%2D"];

export const experiment: Experiment = {
  claim: "a token that is spelled in any other way (alphabet, padding, spaces, length) is no token",
  trials: { unit: "tokens", short: 200, full: 20_000 },
  run: async ({ trials, seed }) => {
    const random = seededRandom(seed);
    const violations = new Violations();
    let spellings = 0;
    const refused = (text: string) => {
      spellings++;
      violations.expect(decodeToken(text) === undefined, `${JSON.stringify(text)} was taken for a token`);
    };
    for (let i = 0; i < trials; i++) {
      const bytes = random.bytes(TOKEN_BYTES);
      const text = encodeToken(bytes);
      violations.expect(
        decodeToken(text)?.every((b, at) => b === bytes[at]) === true,
        `${text} does not decode`,
      );
      for (let at = 0; at <= text.length; at++) {
        for (const other of OTHERS) {
          refused(text.slice(0, at) + other + text.slice(at));
          if (at < text.length) refused(text.slice(0, at) + other + text.slice(at + 1));
        }
        if (at < text.length) refused(text.slice(0, at) + text.slice(at + 1));
      }
    }
    return { trials, violations, figures: { spellings } };
  },
};
