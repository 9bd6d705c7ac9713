/** Puts something else in the place of a function of the product, for as long as the process lives. */

/** `make` gets what was there. Fails when the product no longer has such a method. */
export function replaceMethod<T extends object, K extends keyof T>(
  prototype: T,
  name: K,
  make: (original: T[K]) => T[K],
): void {
  const original = prototype[name];
  if (typeof original !== 'function') throw new Error(`no method ${String(name)} to replace`);
  prototype[name] = make(original);
}
