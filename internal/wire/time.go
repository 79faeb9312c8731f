package wire

import "time"

// RequestTime bounds one request of an agent. Runtimes give up after a minute or more; code 11 has them try again.
const RequestTime = 30 * time.Second
