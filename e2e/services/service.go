package main

import (
	"context"
	"fmt"
	"net/netip"
)

// A service is a Service of the API with one endpoint.
type service struct {
	at       netip.Addr // its own address
	nodePort uint16
}

const (
	servicePort   = 80
	firstNodePort = 30001
)

// serve makes the API's Service for a container in a family. A local one is answered only by the node that has the endpoint.
func (a *api) serve(ctx context.Context, to *container, v6, local bool, nodePort uint16) (s service, err error) {
	name, ipFamily, policy := to.name+"-v4", "IPv4", "Cluster"
	if v6 {
		name, ipFamily = to.name+"-v6", "IPv6"
	}
	if local {
		name, policy = name+"-local", "Local"
	}
	var made struct {
		Spec struct{ ClusterIP netip.Addr }
	}
	err = a.create(ctx, "/api/v1/namespaces/default/services", object{
		"metadata": object{"name": name},
		"spec": object{"type": "NodePort", "ipFamilies": []string{ipFamily}, "externalTrafficPolicy": policy,
			"ports": []object{{"port": servicePort, "targetPort": port, "nodePort": nodePort, "protocol": "TCP"}}},
	}, &made)
	if err != nil {
		return s, fmt.Errorf("the Service %s: %w", name, err)
	}
	err = a.create(ctx, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", object{
		"metadata":    object{"name": name, "labels": object{"kubernetes.io/service-name": name}},
		"addressType": ipFamily, "ports": []object{{"name": "", "port": port, "protocol": "TCP"}},
		"endpoints": []object{{"addresses": []string{to.of(v6).String()}, "nodeName": to.node, "conditions": object{"ready": true}}},
	}, nil)
	return service{made.Spec.ClusterIP, nodePort}, err
}

// cluster and on are where it is asked: at its own address, and at a node's.
func (s service) cluster() netip.AddrPort { return netip.AddrPortFrom(s.at, servicePort) }

func (s service) on(node netip.Addr) netip.AddrPort { return netip.AddrPortFrom(node, s.nodePort) }
