/** The keys that a configuration gives for secrets, in a file or in a text that came from the environment. */

import type { Path } from '../configuration-error.ts';
import type { File } from '../schema.ts';
import type { TlsFileReader } from '../tls-files.ts';
import { Keyring } from './keyring.ts';

const NO_KEYS =
  'must be keys of 32 bytes in base64 or hexadecimal, one per line, such as `openssl rand -base64 32` prints; the first one encrypts';

/** Those of the file go first. Undefined when there are none; problems are told to `reader`. */
export function readKeys(
  { KeyFile, Keys }: File['SecretStore'],
  reader: TlsFileReader,
): Keyring | undefined {
  const filePath: Path = ['SecretStore', 'KeyFile'];
  const ofFile = parse(reader.text(KeyFile, filePath), filePath, reader);
  const given = parse(Keys, ['SecretStore', 'Keys'], reader);
  return ofFile === undefined || given === undefined ? (ofFile ?? given) : ofFile.and(given);
}

function parse(text: string | undefined, path: Path, reader: TlsFileReader): Keyring | undefined {
  if (text === undefined) return undefined;
  return Keyring.parse(text) ?? reader.problem(path, NO_KEYS);
}
