/**
 * What an AWS Query API answers with instead of a result: a code that programs look at and a message for
 * people. The codes of RDS are those of its service model, the others those that all of AWS's APIs have.
 * https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/CommonErrors.html
 */

/** Those that every API may have to tell. */
const COMMON_FAULT_STATUSES = {
  AccessDenied: 403,
  ExpiredToken: 403,
  IncompleteSignature: 400,
  InternalFailure: 500,
  InvalidAction: 400,
  InvalidClientTokenId: 403,
  InvalidParameterCombination: 400,
  InvalidParameterValue: 400,
  InvalidQueryParameter: 400,
  MalformedQueryString: 404,
  MissingAction: 400,
  MissingAuthenticationToken: 403,
  ServiceUnavailable: 503,
  SignatureDoesNotMatch: 403,
  Throttling: 400,
  ValidationError: 400,
} as const;

/** docs/api.md describes each, and a test compares. */
export const FAULT_STATUSES = {
  ...COMMON_FAULT_STATUSES,
  DBClusterAlreadyExistsFault: 400,
  DBClusterNotFoundFault: 404,
  DBClusterQuotaExceededFault: 403,
  DBInstanceAlreadyExists: 400,
  DBInstanceNotFound: 404,
  DBProxyAlreadyExistsFault: 400,
  DBProxyEndpointAlreadyExistsFault: 400,
  DBProxyEndpointNotFoundFault: 404,
  DBProxyEndpointQuotaExceededFault: 400,
  DBProxyNotFoundFault: 404,
  DBProxyQuotaExceededFault: 400,
  DBProxyTargetAlreadyRegisteredFault: 400,
  DBProxyTargetGroupNotFoundFault: 404,
  DBProxyTargetNotFoundFault: 404,
  InstanceQuotaExceeded: 400,
  InsufficientAvailableIPsInSubnetFault: 400,
  InvalidDBClusterStateFault: 400,
  InvalidDBInstanceState: 400,
  InvalidDBProxyEndpointStateFault: 400,
  InvalidDBProxyStateFault: 400,
  InvalidSubnet: 400,
} as const;

export type CommonFaultCode = keyof typeof COMMON_FAULT_STATUSES;
export type FaultCode = keyof typeof FAULT_STATUSES;

/** An answer of any API that is no result. */
export abstract class CodedFault<Code extends string> extends Error {
  readonly code: Code;

  constructor(code: Code, message: string) {
    super(message);
    this.name = new.target.name;
    this.code = code;
  }

  /** Of HTTP. */
  abstract get status(): number;
}

export class Fault extends CodedFault<FaultCode> {
  get status(): number {
    return FAULT_STATUSES[this.code];
  }

  /** Whose fault it is, as AWS words it. */
  get type(): 'Sender' | 'Receiver' {
    return this.status < 500 ? 'Sender' : 'Receiver';
  }
}

export function isCommon(code: FaultCode): code is CommonFaultCode {
  return code in COMMON_FAULT_STATUSES;
}
