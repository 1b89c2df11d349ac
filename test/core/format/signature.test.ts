import { describe, expect, it } from "vitest";
import {
  manifestSignatureHolds,
  newSigningKey,
  showSignatureHolds,
  signManifest,
  signShow,
} from "../../../core/format/signature.ts";

const key = newSigningKey();
const manifest = Buffer.from('{"campaign":"gala"}');
const signature = signManifest(key, manifest);

/** The other spellings of the same 64 bytes: the last of 86 characters carries two bits of them and four spare ones. */
function respelled(text: string): string[] {
  const bytes = Buffer.from(text, "base64url");
  return [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"]
    .map((last) => text.slice(0, -1) + last)
    .filter((other) => other !== text && Buffer.from(other, "base64url").equals(bytes));
}

describe("signatures", () => {
  it("hold over exactly these bytes, under exactly this key", () => {
    expect(signature).toMatch(/^[A-Za-z0-9_-]{86}$/);
    expect(manifestSignatureHolds(key.publicKey, manifest, signature)).toBe(true);
    expect(manifestSignatureHolds(newSigningKey().publicKey, manifest, signature)).toBe(false);
    expect(manifestSignatureHolds(key.publicKey, Buffer.concat([manifest, Buffer.of(10)]), signature)).toBe(
      false,
    );
  });

  it("one over a manifest is never one over a show, though the bytes are the same", () => {
    const show = signShow(key, manifest.toString());
    expect(showSignatureHolds(key.publicKey, manifest.toString(), show)).toBe(true);
    expect(showSignatureHolds(key.publicKey, manifest.toString(), signature)).toBe(false);
    expect(manifestSignatureHolds(key.publicKey, manifest, show)).toBe(false);
  });

  it("have one spelling", () => {
    expect(respelled(signature)).toHaveLength(15);
    for (const other of [...respelled(signature), `${signature}A`, signature.slice(1), `${signature}==`, ""])
      expect(manifestSignatureHolds(key.publicKey, manifest, other), other).toBe(false);
  });

  it("of a key that is none do not hold, and nothing is signed with one", () => {
    expect(manifestSignatureHolds("short", manifest, signature)).toBe(false);
    expect(() => signManifest({ privateKey: "short", publicKey: key.publicKey }, manifest)).toThrow(
      expect.objectContaining({
        code: "invalid_key_file",
        message: "the signing key is not an Ed25519 key",
      }),
    );
  });
});
