import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { CLIENT_QUERY_ATTRIBUTES } from '../../../src/engine/mysql/wire/capabilities.ts';
import { HEADER_BYTES, packet } from '../../../src/engine/mysql/wire/packets.ts';
import {
  asksForCursor,
  closeMessages,
  isSameBlock,
  longDataParameterAt,
  statementIdAt,
  TypesView,
  writeStatementId,
} from '../../../src/engine/mysql/wire/statement-commands.ts';
import {
  bulkExecute,
  execute,
  type MysqlParameter,
  sendLongData,
  statementCommand,
} from '../../harness/mysql/commands.ts';
import { COMMAND } from '../../harness/mysql/constants.ts';

const parameter: fc.Arbitrary<MysqlParameter> = fc.oneof(
  fc.constant(null),
  fc.string({ maxLength: 300 }),
  fc.integer(),
  fc.double({ noNaN: true }),
);
const parameters = fc.array(parameter, { minLength: 1, maxLength: 40 });
const capabilities = fc.constantFrom(0, CLIENT_QUERY_ATTRIBUTES);

function hasAttributes(flags: number): boolean {
  return flags !== 0;
}

describe('the types of COM_STMT_EXECUTE', () => {
  test('are found, taken, and put into another that lacks them', () => {
    fc.assert(
      fc.property(parameters, capabilities, fc.nat(20), (values, flags, before) => {
        const typed = packet(0, execute(7, values, { capabilities: flags }));
        const bare = packet(0, execute(7, values, { capabilities: flags, hasTypes: false }));
        const view = new TypesView();
        view.ofExecute(typed, HEADER_BYTES, typed.length, values.length, hasAttributes(flags));
        expect([view.isBroken, view.hasTypes, view.isSent]).toEqual([false, true, true]);
        const types = Buffer.from(typed.subarray(view.from, view.to));

        // Somewhere in a chunk, with something behind it.
        const chunk = Buffer.concat([Buffer.alloc(before), bare, Buffer.alloc(9)]);
        const end = before + bare.length;
        view.ofExecute(chunk, before + HEADER_BYTES, end, values.length, hasAttributes(flags));
        expect([view.isBroken, view.hasTypes, view.isSent]).toEqual([false, true, false]);
        const length = bare.length - HEADER_BYTES;
        expect(view.inserted(chunk, before, end, length, types)).toEqual(typed);
      }),
    );
  });

  test('are not looked for beyond the end', () => {
    fc.assert(
      fc.property(parameters, capabilities, (values, flags) => {
        const typed = packet(0, execute(7, values, { capabilities: flags }));
        const view = new TypesView();
        view.ofExecute(typed, HEADER_BYTES, typed.length, values.length, hasAttributes(flags));
        const { to } = view;
        for (let end = HEADER_BYTES + 1; end <= typed.length; end++) {
          view.ofExecute(typed, HEADER_BYTES, end, values.length, hasAttributes(flags));
          expect(view.isBroken).toBe(end < to);
        }
      }),
      { numRuns: 30 },
    );
  });

  test('there are none without parameters', () => {
    const message = packet(0, execute(7));
    const view = new TypesView();
    view.ofExecute(message, HEADER_BYTES, message.length, 0, true);
    expect([view.isBroken, view.hasTypes]).toEqual([false, false]);
  });
});

describe('the types of COM_STMT_BULK_EXECUTE', () => {
  const SEND_TYPES = 128;
  const RETURN_UNITS = 64;

  test('are found, and put into another that lacks them', () => {
    const rows = [
      [1, 'one'],
      [2, null],
    ];
    const typed = packet(0, bulkExecute(7, rows, SEND_TYPES | RETURN_UNITS));
    const view = new TypesView();
    view.ofBulk(typed, HEADER_BYTES, typed.length, 2);
    expect([view.isBroken, view.hasTypes, view.isSent]).toEqual([false, true, true]);
    expect(view.to - view.from).toBe(4);
    const types = Buffer.from(typed.subarray(view.from, view.to));

    const bare = Buffer.concat([typed.subarray(0, view.from), typed.subarray(view.to)]);
    bare[0] -= types.length;
    bare[HEADER_BYTES + 5] = RETURN_UNITS;
    view.ofBulk(bare, HEADER_BYTES, bare.length, 2);
    expect([view.isBroken, view.hasTypes, view.isSent]).toEqual([false, true, false]);
    expect(view.inserted(bare, 0, bare.length, bare.length - HEADER_BYTES, types)).toEqual(typed);
  });
});

test('an id is read, and put in the place of another', () => {
  const message = packet(0, statementCommand(COMMAND.STMT_RESET, 0xfedc_ba98));
  expect(statementIdAt(message, HEADER_BYTES)).toBe(0xfedc_ba98);
  writeStatementId(message, HEADER_BYTES, 0x8123_4567);
  expect(message).toEqual(packet(0, statementCommand(COMMAND.STMT_RESET, 0x8123_4567)));
});

test('any kind of cursor counts', () => {
  for (const [cursor, expected] of [
    [0, false],
    [1, true],
    [2, true],
    [4, true],
    [8, false],
  ] as const) {
    const message = execute(1, [], { cursor });
    expect(asksForCursor(message, 0, message.length)).toBe(expected);
  }
  expect(asksForCursor(Buffer.of(0x17, 1, 0, 0, 0), 0, 5)).toBe(false);
});

test('the parameter of COM_STMT_SEND_LONG_DATA, if it says one', () => {
  const message = sendLongData(1, 300, 'x');
  expect(longDataParameterAt(message, 0, message.length)).toBe(300);
  expect(longDataParameterAt(message, 0, 6)).toBe(-1);
});

test('several are closed in one write', () => {
  const messages = [3, 70_000].map((id) => packet(0, statementCommand(COMMAND.STMT_CLOSE, id)));
  expect(closeMessages([3, 70_000])).toEqual(Buffer.concat(messages));
});

test('blocks of any length are compared', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), fc.nat(), (bytes, seed) => {
      const block = Buffer.from(bytes);
      const chunk = Buffer.concat([Buffer.of(1, 2), block, Buffer.of(3)]);
      expect(isSameBlock(block, chunk, 2, 2 + block.length)).toBe(true);
      expect(isSameBlock(block, chunk, 2, 3 + block.length)).toBe(false);
      const at = 2 + (seed % block.length);
      chunk[at] = (chunk[at] ?? 0) ^ 1;
      expect(isSameBlock(block, chunk, 2, 2 + block.length)).toBe(false);
    }),
  );
});
