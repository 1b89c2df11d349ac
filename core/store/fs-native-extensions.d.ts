declare module "fs-native-extensions" {
  /** Exclusive lock on the whole file; false if another descriptor holds it. */
  export function tryLock(fd: number): boolean;
}
