// Package trace holds the transactions that an etcd has committed, in a real or a simulated cluster, against lease/model: each is a
// step of a model's from the state before it, or changes nothing that the models have.
package trace
